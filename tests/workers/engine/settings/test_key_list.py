"""`seeds.txt` and the keys of a command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.keys import encode_key
from workers.engine.model.kind import Kind
from workers.engine.settings.key_list import KeyListError, SeedSpec, is_cut, merge, parse_list, read_list

ONE, TWO = bytes([1]) * 32, bytes([2]) * 32


def test_lines_name_a_kind_and_a_key_in_any_spelling() -> None:
    text = f"core {ONE.hex()}\nbee {encode_key(TWO)}\ndrive hyper://{ONE.hex()}/path\n"
    assert parse_list(text, source="seeds.txt") == [
        SeedSpec(ONE, Kind.CORE),
        SeedSpec(TWO, Kind.BEE),
        SeedSpec(ONE, Kind.DRIVE),
    ]


def test_a_bare_key_is_of_a_kind_to_be_seen() -> None:
    assert parse_list(ONE.hex(), source="seeds.txt") == [SeedSpec(ONE, None)]


def test_blank_lines_comments_and_windows_ends_are_passed_over() -> None:
    text = f"\ufeff# my seeds\r\n\r\n  core   {ONE.hex()}  # the first\r\n\t\r\n#core {TWO.hex()}\r\n"
    assert parse_list(text, source="seeds.txt") == [SeedSpec(ONE, Kind.CORE)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("core", "expected 64 hex digits"),
        ("core nonsense", "expected 64 hex digits"),
        (f"croe {ONE.hex()}", "expected 'core|bee|drive KEY' or 'KEY'"),
        (f"core {ONE.hex()} {TWO.hex()}", "expected 'core|bee|drive KEY' or 'KEY'"),
        (ONE.hex()[:-1], "expected 64 hex digits"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(line: str, reason: str) -> None:
    text = f"# heading\ncore {ONE.hex()}\n{line}\n"
    with pytest.raises(KeyListError) as caught:
        parse_list(text, source="seeds.txt")
    message = str(caught.value)
    assert message.startswith("seeds.txt, line 3: ")
    assert reason in message
    assert "\n" not in message


def test_a_list_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "seeds.txt"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(KeyListError, match="not text"):
        read_list(path)


def test_the_size_of_a_list_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.engine.settings.key_list.MAX_LIST_BYTES", 1 << 20)
    path = tmp_path / "seeds.txt"
    path.write_bytes(b"\n" * ((1 << 20) + 1))
    with pytest.raises(KeyListError, match="larger than 1 MiB"):
        read_list(path)


def test_merging_keeps_order_and_takes_the_kind_that_is_given() -> None:
    wanted = [SeedSpec(TWO), SeedSpec(ONE, Kind.CORE), SeedSpec(TWO, Kind.DRIVE), SeedSpec(ONE)]
    assert merge(wanted) == [SeedSpec(TWO, Kind.DRIVE), SeedSpec(ONE, Kind.CORE)]


def test_a_key_of_two_kinds_is_refused() -> None:
    with pytest.raises(KeyListError, match="as core and as bee"):
        merge([SeedSpec(ONE, Kind.CORE), SeedSpec(ONE, Kind.BEE)])


def test_lines_for_simple_seeder_alone_are_skipped_with_a_warning() -> None:
    reported: list[str] = []
    text = f"seeders {ONE.hex()}\ndrive {ONE.hex()}\nseeders {encode_key(TWO)} # who is there\n"
    assert parse_list(text, source="seeds.txt", on_skipped=reported.append) == [SeedSpec(ONE, Kind.DRIVE)]
    assert [line.partition(":")[0] for line in reported] == ["seeds.txt, line 1", "seeds.txt, line 3"]
    assert all("'drive KEY'" in line for line in reported)
    with pytest.raises(KeyListError, match="line 1"):
        parse_list("seeders nonsense\n", source="seeds.txt")


@given(st.binary(min_size=32, max_size=32), st.booleans(), st.integers(1, 63))
def test_a_key_that_is_cut_is_not_taken_for_another_key(key: bytes, as_hex: bool, length: int) -> None:
    cut = (key.hex() if as_hex else encode_key(key)[:51])[:length]
    for line in (cut, f"drive {cut}", f"hyper://{cut}", f"hyper://{cut}/file"):
        assert is_cut(f"{ONE.hex()}\n{line}")
        with pytest.raises(KeyListError):
            parse_list(line, source="seeds.txt")


@pytest.mark.parametrize("damage", ["\0" * 100, "# \0", "\x1b[2J", "\x7f"])
def test_a_list_with_control_characters_is_refused(damage: str) -> None:
    with pytest.raises(KeyListError, match="line 2: has control characters"):
        parse_list(f"{ONE.hex()}\n{damage}\n", source="seeds.txt")


@pytest.mark.parametrize("line", ["s3cret-of-somebody", "s3cret " * 2, "core s3cret", "s3cret a b"])
def test_what_a_line_holds_is_not_quoted(line: str) -> None:
    with pytest.raises(KeyListError) as caught:
        parse_list(line, source="a file")
    assert "s3cret" not in str(caught.value)
