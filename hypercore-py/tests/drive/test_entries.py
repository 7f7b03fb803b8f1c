"""Entries: the JSON in the db of a drive."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.drive import BlobId, Entry
from hypercore.drive.entries import MAX_VALUE_BYTES, decode_entry, encode_entry
from hypercore.errors import InvalidContent, LocalProtocolError

COUNTS = st.integers(0, 2**53 - 1)
TEXT = st.text(st.characters(blacklist_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
ENTRIES = st.builds(
    Entry,
    path=st.just("/a"),
    seq=st.just(3),
    executable=st.booleans(),
    linkname=st.none() | TEXT.filter(bool),
    blob=st.none() | st.builds(BlobId, COUNTS, COUNTS, COUNTS, COUNTS, st.booleans()),
    metadata=JSON,
)

BLOB = {"blockOffset": 1, "byteOffset": 2, "blockLength": 3, "byteLength": 4}


def decode(value: Any) -> Entry:
    return decode_entry("/a", 3, json.dumps(value).encode())


@given(ENTRIES)
def test_entry_survives_a_round_trip_and_every_truncation(entry: Entry) -> None:
    raw = encode_entry(entry)
    assert decode_entry("/a", 3, raw) == entry
    for size in range(len(raw)):
        with pytest.raises(InvalidContent):
            decode_entry("/a", 3, raw[:size])


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_raises_only_invalid_content(value: bytes) -> None:
    with suppress(InvalidContent):
        decode_entry("/a", 3, value)


@given(st.dictionaries(st.sampled_from(["executable", "linkname", "blob", "metadata", "x"]), JSON))
def test_members_of_any_type_raise_only_invalid_content(members: dict[str, Any]) -> None:
    with suppress(InvalidContent):
        decode(members)
    with suppress(InvalidContent):
        decode({"blob": members | BLOB})


def test_missing_members_are_absent_and_unknown_ones_are_ignored() -> None:
    assert decode({}) == Entry(path="/a", seq=3)
    assert decode({"blob": BLOB | {"x": 1}, "y": 2}).blob == BlobId(1, 3, 2, 4)


def test_values_as_javascript_takes_them() -> None:
    assert decode({"executable": 1}).executable is False
    assert decode({"linkname": ""}).kind == "file"
    assert decode({"linkname": "/b"}).kind == "link"
    assert decode({"blob": BLOB | {"byteLength": 4.0}}).size == 4
    assert decode({"blob": BLOB | {"blockMap": True}}).size is None
    assert decode_entry("/a", 3, b'{"metadata":1,"metadata":2}').metadata == 2
    assert decode({}).size == 0


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b"{\xff}",
        b'{"metadata":NaN}',
        b'{"metadata":-Infinity}',
        b'{"linkname":1}',
        b'{"linkname":"\\ud800"}',
        b'{"blob":[]}',
        b'{"blob":{}}',
        b'{"blob":{"blockOffset":1e999,"blockLength":1,"byteOffset":0,"byteLength":1}}',
        b'{"metadata":' + b"9" * 5000 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"metadata":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    ],
)
def test_values_that_are_no_entries_are_invalid_content(value: bytes | None) -> None:
    with pytest.raises(InvalidContent, match="'/a' is broken"):
        decode_entry("/a", 3, value)


@pytest.mark.parametrize("count", [-1, 2**53, 0.5, 1e300, "1", None, True, []])
def test_counts_of_a_blob_are_whole_and_safe(count: object) -> None:
    for name in BLOB:
        with pytest.raises(InvalidContent, match=name):
            decode({"blob": BLOB | {name: count}})


def test_values_are_bounded() -> None:
    filler = b'{"metadata":"' + b"x" * (MAX_VALUE_BYTES - 15) + b'"}'
    assert len(filler) == MAX_VALUE_BYTES
    decode_entry("/a", 3, filler)
    with pytest.raises(InvalidContent, match="at most"):
        decode_entry("/a", 3, filler + b" ")


@pytest.mark.parametrize("metadata", [object(), b"bytes", float("nan"), {"a": {1}}, "\ud800"])
def test_metadata_that_json_lacks_is_not_written(metadata: object) -> None:
    with pytest.raises(LocalProtocolError):
        encode_entry(Entry(path="/a", seq=1, metadata=metadata))
