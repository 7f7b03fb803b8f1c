"""Answers as keys."""

from __future__ import annotations

import json

import pytest

from hypercore.keys import encode_key
from seederfarm.sources import list_formats
from seederfarm.sources.list_formats import SourceError, parse_json, parse_lines

ONE, TWO = b"\x01" * 32, b"\x02" * 32


@pytest.mark.parametrize("spelling", [ONE.hex(), encode_key(ONE), f"hyper://{encode_key(ONE)}/a"])
@pytest.mark.parametrize("wrap", [lambda k: k, lambda k: {"key": k}, lambda k: {"url": k}])
def test_known_formats_need_no_mapping(spelling: str, wrap: object) -> None:
    parsed = parse_json(json.dumps([wrap(spelling), wrap(TWO.hex())]).encode())  # type: ignore[operator]
    assert list(parsed.entries) == [ONE.hex(), TWO.hex()]
    assert parsed.refused == 0


def test_a_mapping_gives_key_kind_and_label() -> None:
    body = json.dumps({"data": {"items": [{"k": ONE.hex(), "t": "drive", "name": "A film"}]}})
    (entry,) = parse_json(body.encode(), "data.items[].{key: k, kind: t, label: name}").entries.values()
    assert (entry.key, entry.kind, entry.label) == (ONE.hex(), "drive", "A film")


def test_malformed_entries_are_counted_and_hinder_no_other() -> None:
    body = json.dumps(
        [{"url": "https://example.org"}, 7, {"name": "x"}, {"key": ONE.hex(), "kind": "cat"}, TWO.hex()]
    )
    parsed = parse_json(body.encode())
    assert list(parsed.entries) == [TWO.hex()]
    assert parsed.refused == 4
    assert parsed.problems[1].startswith("entry 2: expected a key")


@pytest.mark.parametrize(
    ("body", "mapping", "why"),
    [
        (b"<!doctype html><p>Not found", "", "HTML"),
        (b"nonsense", "", "not JSON"),
        (b" ", "", "empty"),
        (b"[NaN]", "", "not JSON"),
        (b"[" * 100_000, "", "not JSON"),
        (b'{"a": 1}', "", "expected a list, found an object"),
        (b'{"a": 1}', "b", "after the mapping, found nothing"),
        (b'{"a": 1}', "a[", "mapping fails"),
        (b'{"a": 1}', "keys(a)", "mapping fails"),
    ],
)
def test_what_is_no_list_is_refused_with_a_reason(body: bytes, mapping: str, why: str) -> None:
    with pytest.raises(SourceError, match=why.replace("[", r"\[")):
        parse_json(body, mapping)


@pytest.mark.parametrize("extra", [r'"\u0000"', r'"\ud800"', "1e999", json.dumps("x" * 3000)])
def test_what_a_database_cannot_store_is_not_kept(extra: str) -> None:
    parsed = parse_json(f'[{{"key": "{ONE.hex()}", "extra": {extra}}}]'.encode())
    assert parsed.entries[ONE.hex()].data is None


def test_lines_of_a_seeds_txt() -> None:
    parsed = parse_lines(f"# ours\ncore {ONE.hex()} # first\n\n{encode_key(TWO)}\nwrong\n".encode())
    assert [(e.key, e.kind) for e in parsed.entries.values()] == [(ONE.hex(), "core"), (TWO.hex(), "")]
    assert parsed.refused == 1
    assert parsed.problems[0].startswith("line 5: 5 characters that are not a key")
    with pytest.raises(SourceError, match="HTML"):
        parse_lines(b"\n<html>")


@pytest.mark.parametrize(
    "tail",
    [
        *(TWO.hex()[:length] for length in (1, 8, 51, 52, 53, 63)),
        *(encode_key(TWO)[:length] for length in (1, 51)),
        *(
            f"drive {TWO.hex()[:10]}",
            "drive ",
            "dri",
            "# a comm",
            f"{TWO.hex()} # the se",
            f"hyper://{TWO.hex()}/pa",
        ),
        *("hyper://ab", "hyper:/"),
    ],
)
def test_a_list_that_ends_in_the_middle_of_a_line_is_no_reading(tail: str) -> None:
    with pytest.raises(SourceError, match="ends in the middle of line 2"):
        parse_lines(f"{ONE.hex()}\n{tail}".encode())


def test_a_cut_at_any_place_is_seen_or_behind_a_whole_key() -> None:
    """What is taken from a cut list are keys that were in it, and never another one."""
    key, other = bytes.fromhex("beef" * 16), bytes.fromhex("13456789" * 8)
    whole = f"# ours\ncore {key.hex()} # the first\n{encode_key(TWO)}\nhyper://{other.hex()}\n".encode()
    known = {key.hex(), TWO.hex(), other.hex()}
    accepted = []
    for end in range(len(whole)):
        try:
            parsed = parse_lines(whole[:end])
        except SourceError:
            continue
        assert parsed.refused == 0 and parsed.entries.keys() <= known
        accepted.append(end)
    lines = whole.splitlines(keepends=True)
    ends = [len(b"".join(lines[:count])) for count in range(5)]
    # at ends of lines, and where a key is whole and nothing follows it; there the share that is gone decides
    key_ends = {whole.index(key.hex().encode()) + 64 + more for more in (0, 1)} | {ends[3] - 1, ends[4] - 1}
    assert set(accepted) <= set(ends) | key_ends


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "  "])
@pytest.mark.parametrize(
    "last", [TWO.hex(), encode_key(TWO), f"drive {TWO.hex()}", f"hyper://{encode_key(TWO)}"]
)
def test_a_last_line_that_is_whole_needs_no_newline(last: str, end: str) -> None:
    assert list(parse_lines(f"{ONE.hex()}\n{last}{end}".encode()).entries) == [ONE.hex(), TWO.hex()]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (b"\0" * 4096, "line 2 has control characters"),
        (b"# \0\0\n", "line 2 has control characters"),
        (b"\x1b[2J\n", "line 2 has control characters"),
        (b"<html><body>502 Bad Gateway</body></html>\n", "line 2 is of a web page"),
        (b"\xff\xfe\n", "not text"),
    ],
)
def test_a_list_that_turns_into_something_else_is_no_reading(damage: bytes, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        parse_lines(ONE.hex().encode() + b"\n" + damage)


@pytest.mark.parametrize("end", range(1, 12))
def test_json_that_is_cut_is_no_reading(end: int) -> None:
    body = json.dumps([ONE.hex(), {"key": TWO.hex()}]).encode()
    for mapping in ("", "[]"):
        with pytest.raises(SourceError, match="not JSON, or is cut"):
            parse_json(body[: len(body) * end // 12], mapping)


def test_lists_are_decoded_as_json_is() -> None:
    for text in ("[]", " [ ] ", "\n[\n]\n"):
        assert parse_json(text.encode()).entries == {}
    for text in ("[,]", "[1,]", "[1 2]", "[1]]", "[1],", "[", "[1", '["', "[1]x"):
        with pytest.raises(SourceError, match="not JSON"):
            parse_json(text.encode())
    assert list(parse_json(f'\ufeff ["{ONE.hex()}" , "{TWO.hex()}" ]'.encode()).entries) == [
        ONE.hex(),
        TWO.hex(),
    ]


def test_lines_for_simple_seeder_alone_are_skipped() -> None:
    parsed = parse_lines(f"seeders {ONE.hex()}\ndrive {ONE.hex()}\nseeders {TWO.hex()}\nseeders x\n".encode())
    assert list(parsed.entries) == [ONE.hex()]
    assert (parsed.skipped, parsed.refused) == (2, 1)
    assert parsed.problems[0].startswith("line 1: 'seeders' is skipped")
    assert parse_json(json.dumps([f"seeders {ONE.hex()}", {"key": TWO.hex()}]).encode()).skipped == 1


SECRET = "dj4ngo-s3cret-k3y"


@pytest.mark.parametrize(
    "body",
    [
        SECRET,
        f"postgres://farm:{SECRET}@db/farm",
        f"drive {SECRET}",
        f"{SECRET} a",
        f"a b {SECRET}",
        SECRET * 4,
    ],
)
def test_no_text_quotes_what_was_read(body: str) -> None:
    texts = list(parse_lines(f"{body}\n".encode()).problems)
    for form in (
        json.dumps([body]),
        json.dumps([{"key": body}]),
        json.dumps([{"key": ONE.hex(), "kind": body}]),
    ):
        texts += parse_json(form.encode()).problems
    for answer, mapping in ((body, ""), (json.dumps({"a": body}), "keys(a)"), (json.dumps(body), "@")):
        with pytest.raises(SourceError) as caught:
            parse_json(answer.encode(), mapping)
        texts.append(str(caught.value))
    assert len(texts) == 7
    assert not any("s3cret" in text for text in texts), texts


def test_what_is_kept_of_all_entries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_formats, "MAX_KEPT_IN_ALL", 250)
    parsed = parse_json(
        json.dumps([{"key": ONE.hex(), "a": "x" * 50}, {"key": TWO.hex(), "a": "x" * 99}]).encode()
    )
    assert [entry.data is None for entry in parsed.entries.values()] == [False, True]


def test_a_list_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_formats, "MAX_ENTRIES", 2)
    assert len(parse_json(json.dumps([ONE.hex(), TWO.hex()]).encode()).entries) == 2
    with pytest.raises(SourceError, match="more than 2 entries"):
        parse_json(json.dumps([ONE.hex()] * 3).encode())
