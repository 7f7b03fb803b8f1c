"""Seed lists, as simple-seeder keeps them, and the self-describing values in them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.bee import Bee
from hypercore.bee.anyvalue import MAX_DEPTH, MAX_ITEMS, decode_any, encode_any
from hypercore.bee.seedlist import (
    ALLOWED_PEERS,
    ENTRIES,
    MAX_DESCRIPTION_BYTES,
    METADATA,
    SeedEntry,
    SeedList,
    decode_seed,
    encode_metadata,
    encode_seed,
)
from hypercore.bee.writer import BeeWriter
from hypercore.blocks import MemorySource
from hypercore.codec import Reader, Writer
from hypercore.errors import FrameDecodeError, InvalidContent, LocalProtocolError
from hypercore.keys import encode_key
from support.content import listed, run, vector

KEY = b"\x33" * 32


def seed_list(**metadata: Any) -> tuple[SeedList, BeeWriter]:
    log = MemorySource()
    writer = BeeWriter(log)
    for name, value in metadata.items():
        writer.sub(METADATA).put(*encode_metadata(name.replace("_", "/"), value))
    return SeedList(Bee(log)), writer


def test_entry_is_that_of_the_official_encoding() -> None:
    case = vector("aux", "seedbee-entry")
    entry = SeedEntry(key=KEY, type="drive", description="d", seeders=True)
    key, value = encode_seed(entry)
    assert (ENTRIES + b"\0" + key).hex() == case["output"]["key"]
    assert value.hex() == case["output"]["value"]
    assert decode_seed(key, value) == entry


def test_metadata_key_is_that_of_the_official_encoding() -> None:
    key, _ = encode_metadata(ALLOWED_PEERS, None)
    assert (METADATA + b"\0" + key).hex() == vector("aux", "seedbee-meta-key")["output"]


def test_a_list_gives_its_entries_and_leaves_its_metadata_apart() -> None:
    seeds, writer = seed_list(x=1)
    entries = [
        SeedEntry(key=bytes([i]) * 32, type=kind) for i, kind in enumerate(("core", "bee", "new word"))
    ]
    for entry in reversed(entries):
        writer.sub(ENTRIES).put(*encode_seed(entry))
    assert listed(seeds.entries()) == entries
    assert run(seeds.get(bytes([1]) * 32)) == entries[1]
    assert run(seeds.get(KEY)) is None
    assert run(seeds.metadata("x")) == 1
    assert run(seeds.metadata("y")) is None
    assert seeds.version == 5


def test_allowed_peers_may_be_all_none_or_some_in_any_spelling() -> None:
    assert run(seed_list()[0].allowed_peers()) is None
    for value, expected in (
        (None, None),
        ([], set()),
        ([KEY.hex(), encode_key(bytes(32)), b"\x01" * 32], {KEY, bytes(32), b"\x01" * 32}),
    ):
        seeds, writer = seed_list()
        writer.sub(METADATA).put(*encode_metadata(ALLOWED_PEERS, value))
        assert run(seeds.allowed_peers()) == expected


@pytest.mark.parametrize("value", ["text", 5, {"a": 1}, [5], ["short"], [b"short"], [None]])
def test_allowed_peers_that_are_no_keys_are_invalid_content(value: Any) -> None:
    seeds, writer = seed_list()
    writer.sub(METADATA).put(*encode_metadata(ALLOWED_PEERS, value))
    with pytest.raises(InvalidContent):
        run(seeds.allowed_peers())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (bytes(31), b"\x04core\x00\x00"),
        (KEY, None),
        (KEY, b""),
        (KEY, b"\x04core"),
        (KEY, b"\x04core\x00"),
        (KEY, b"\x01\xff\x00\x00"),
        (KEY, bytes(Writer().string("core").string("x" * (MAX_DESCRIPTION_BYTES + 1)).bool_(False))),
    ],
)
def test_broken_entries_are_invalid_content(key: bytes, value: bytes | None) -> None:
    with pytest.raises(InvalidContent):
        decode_seed(key, value)


def test_broken_metadata_is_invalid_content() -> None:
    seeds, writer = seed_list()
    writer.sub(METADATA).put(b"x", b"\x0a")
    with pytest.raises(InvalidContent, match="b'x'"):
        run(seeds.metadata("x"))


# --- any


DATES = st.integers(-(10**13), 10**13).map(
    lambda milliseconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.integers(-(2**52) + 1, 2**53 - 1)
    | st.floats(allow_nan=False)
    | DATES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


def encoded(value: Any) -> bytes:
    w = Writer()
    encode_any(w, value)
    return bytes(w)


@given(VALUES)
def test_any_value_survives_a_round_trip_and_every_truncation(value: Any) -> None:
    raw = encoded(value)
    assert decode_any(Reader(raw)) == value
    for size in range(len(raw)):
        with suppress(FrameDecodeError):
            decode_any(Reader(raw[:size]))


@given(st.binary(max_size=100))
def test_garbage_raises_only_frame_decode_error(data: bytes) -> None:
    with suppress(FrameDecodeError):
        decode_any(Reader(data))


def test_types_are_numbered_as_in_compact_encoding() -> None:
    for value, raw in [
        (None, "00"),
        (True, "0101"),
        ("a", "020161"),
        (b"a", "030161"),
        (5, "0405"),
        (-1, "0501"),
        (0.5, "06000000000000e03f"),
        ([None], "070100"),
        ({"a": None}, "0801016100"),
        (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), "09fdd007"),
    ]:
        assert encoded(value).hex() == raw
    assert encoded(2**60).hex() == "06000000000000b043"
    assert decode_any(Reader(encoded(inf))) == inf


def test_values_of_other_types_are_not_written() -> None:
    for value in (object(), {1, 2}, [object()]):
        with pytest.raises(LocalProtocolError):
            encoded(value)


def test_values_are_bounded_in_depth_and_number() -> None:
    def nested(depth: int) -> bytes:
        return b"\x07\x01" * depth + b"\x00"

    decode_any(Reader(nested(MAX_DEPTH)))
    with pytest.raises(FrameDecodeError, match="levels"):
        decode_any(Reader(nested(MAX_DEPTH + 1)))
    assert len(decode_any(Reader(encoded([None] * (MAX_ITEMS - 1))))) == MAX_ITEMS - 1
    with pytest.raises(FrameDecodeError, match="parts"):
        decode_any(Reader(encoded([None] * MAX_ITEMS)))


def test_unknown_types_and_impossible_dates_are_refused() -> None:
    with pytest.raises(FrameDecodeError, match="unknown type 10"):
        decode_any(Reader(b"\x0a"))
    with pytest.raises(FrameDecodeError, match="date"):
        decode_any(Reader(b"\x09\xff" + (2**53 - 1).to_bytes(8, "little")))
