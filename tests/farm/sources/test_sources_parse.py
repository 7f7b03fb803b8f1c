"""Answers as keys."""

from __future__ import annotations

import json

import pytest

from hypercore.keys import encode_key
from seederfarm.sources import parse
from seederfarm.sources.parse import SourceError, parse_json, parse_lines

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
    with pytest.raises(SourceError, match="HTML"):
        parse_lines(b"\n<html>")


def test_a_list_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "MAX_ENTRIES", 2)
    assert len(parse_json(json.dumps([ONE.hex(), TWO.hex()]).encode()).entries) == 2
    with pytest.raises(SourceError, match="more than 2 entries"):
        parse_json(json.dumps([ONE.hex()] * 3).encode())
