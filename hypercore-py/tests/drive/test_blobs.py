"""Contents: ranges, block maps, what is fetched ahead, and ids that lie."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.blocks import MemorySource
from hypercore.codec import Writer
from hypercore.drive import BlobId, Blobs
from hypercore.drive.blobs import MAX_WINDOW_BLOCKS, MIN_WINDOW_BLOCKS, WINDOW_BYTES
from hypercore.drive.blockmap import (
    MAX_BLOCK_BYTES,
    MAX_MAP_BLOCKS,
    MAX_MAP_ENTRIES,
    BlockMap,
    MapEntry,
    encode_block_map,
)
from hypercore.drive.writer import BlobWriter
from hypercore.errors import BlockNotAvailable, InvalidContent, LocalProtocolError
from support.content import RemoteSource, collect, content, listed, run

BLOCKS = st.lists(st.binary(max_size=9), max_size=12)


class Placed(MemorySource):
    """Knows where its blocks are, and counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[int] = []

    async def get(self, index: int) -> bytes:
        self.read.append(index)
        return await super().get(index)

    def byte_range(self, index: int) -> tuple[int, int]:
        return sum(len(block or b"") for block in self.blocks[:index]), len(self.blocks[index] or b"")


@given(BLOCKS, BLOCKS, st.integers(0, 120), st.none() | st.integers(0, 120), st.booleans(), st.booleans())
def test_ranges_are_slices(
    before: list[bytes], blocks: list[bytes], start: int, length: int | None, placed: bool, deduplicated: bool
) -> None:
    log = Placed() if placed else MemorySource()
    log.append(before)
    writer = BlobWriter(log)
    blob = writer.put_deduplicated(blocks) if deduplicated else writer.put(blocks)
    log.append([b"after"])
    whole = b"".join(blocks)
    blobs = Blobs(log)
    end = None if length is None else start + length
    assert content(blobs.read(blob, start, length)) == whole[start:end]
    assert run(blobs.size(blob)) == len(whole)
    assert all(listed(blobs.read(blob, start, length)))


@given(st.binary(max_size=50), st.integers(1, 10))
def test_bytes_are_cut_into_blocks_of_one_size(data: bytes, size: int) -> None:
    log = MemorySource()
    blob = BlobWriter(log, block_bytes=size).put(data)
    assert log.blocks == [data[i : i + size] for i in range(0, len(data), size)]
    assert content(Blobs(log).read(blob)) == data


def test_a_seek_among_equal_blocks_reads_no_block_too_many() -> None:
    log = Placed()
    log.append([b"x" * 77])
    blob = BlobWriter(log, block_bytes=64).put(bytes(range(250)) * 10)
    assert content(Blobs(log).read(blob, 1000, 10)) == (bytes(range(250)) * 10)[1000:1010]
    assert set(log.read) == {1 + 1000 // 64}


def test_a_seek_among_unequal_blocks_is_a_bisection() -> None:
    log = Placed()
    blocks = [bytes([i & 255]) * (1 + i * 7 % 50) for i in range(1000)]
    blob = BlobWriter(log).put(blocks)
    assert content(Blobs(log).read(blob, 12345, 5)) == b"".join(blocks)[12345:12350]
    assert len(log.read) <= 12


def test_negative_ranges_are_refused() -> None:
    blobs = Blobs(MemorySource([b"a"]))
    for start, length in ((-1, None), (0, -1)):
        with pytest.raises(LocalProtocolError):
            listed(blobs.read(BlobId(0, 1, 0, 1), start, length))


# --- over a network


def test_a_large_file_does_not_take_a_trip_for_each_block() -> None:
    blocks = [bytes([i & 255]) * 65536 for i in range(640)]
    source = RemoteSource(blocks)
    found = source.travel(collect(Blobs(source).read(BlobId(0, 640, 0, 640 * 65536))))
    assert b"".join(found) == b"".join(blocks)
    window = WINDOW_BYTES // 65536
    assert source.trips <= 2 * 640 // window
    assert window // 2 <= source.max_in_flight <= window


def test_a_deduplicated_file_does_not_either() -> None:
    log = MemorySource()
    blob = BlobWriter(log).put_deduplicated([b"%05d" % (i % 3000) * 200 for i in range(6000)])
    source = RemoteSource(log.blocks)
    chunks = source.travel(collect(Blobs(source).read(blob)))
    assert b"".join(chunks) == b"".join(b"%05d" % (i % 3000) * 200 for i in range(6000))
    assert source.trips < 20
    assert source.max_in_flight <= MAX_WINDOW_BLOCKS


def test_hints_that_a_busy_source_ignored_are_repeated() -> None:
    source = RemoteSource([bytes(65536)] * 640)
    source.room = 32
    source.travel(collect(Blobs(source).read(BlobId(0, 640, 0, 640 * 65536))))
    # Half a window comes with 32 blocks in flight, the other half block by block
    assert source.trips < 640 / 2 + 32


def test_a_short_range_fetches_little_more_than_itself() -> None:
    blocks = [bytes([i & 255]) * 65536 for i in range(640)]
    source = RemoteSource(blocks)
    blob = BlobId(0, 640, 0, 640 * 65536)
    chunks = source.travel(collect(Blobs(source).read(blob, 20_000_000, 100_000)))
    assert b"".join(chunks) == b"".join(blocks)[20_000_000:20_100_000]
    assert source.trips == 2
    assert source.fetched <= 4


@pytest.mark.parametrize(("size", "window"), [(10, MAX_WINDOW_BLOCKS), (1 << 23, MIN_WINDOW_BLOCKS)])
def test_what_is_in_flight_is_bounded_in_blocks_and_in_bytes(size: int, window: int) -> None:
    source = RemoteSource([b""] * 2000)
    source.remote[:2] = [b"x"] * 2
    with pytest.raises(InvalidContent):
        source.travel(collect(Blobs(source).read(BlobId(0, 1000, 0, 1000 * size))))
    assert source.max_in_flight == window


# --- ids that lie


def invalid(blob: BlobId, source: MemorySource, start: int = 0) -> None:
    with pytest.raises(InvalidContent):
        listed(Blobs(source).read(blob, start))


@pytest.mark.parametrize(
    "blob",
    [
        BlobId(0, 4, 0, 9),
        BlobId(3, 1, 0, 9),
        BlobId(2**53 - 1, 2**53 - 1, 0, 9),
        BlobId(0, 2**53 - 1, 0, 2**53 - 1),
        BlobId(0, 4, 0, 9, True),
        BlobId(2**53 - 1, 1, 0, 9, True),
    ],
)
def test_blocks_outside_of_the_core_are_invalid_content(blob: BlobId) -> None:
    invalid(blob, MemorySource([b"abc"] * 3))
    invalid(blob, RemoteSource([]), 5)


def test_a_core_that_is_behind_is_asked_for_news_before_an_id_is_called_a_lie() -> None:
    class Late(MemorySource):
        async def update(self) -> bool:
            self.blocks = [b"abc", b"def"]
            return True

    assert content(Blobs(Late()).read(BlobId(0, 2, 0, 6))) == b"abcdef"


def test_a_block_that_a_map_names_may_be_news_as_well() -> None:
    class Late(MemorySource):
        async def update(self) -> bool:
            self.blocks.append(b"abc")
            return True

    source = Late(encode_block_map([MapEntry(1, 3)]))
    assert content(Blobs(source).read(BlobId(0, 1, 0, 4, True))) == b"abc"
    assert source.length == 2


def test_content_shorter_than_its_id_says_is_invalid() -> None:
    for start in (0, 5, 8):
        invalid(BlobId(0, 3, 0, 10), MemorySource([b"abc"] * 9), start)
        placed = Placed()
        placed.append([b"abc"] * 9)
        invalid(BlobId(0, 3, 0, 10), placed, start)
    invalid(BlobId(0, 0, 0, 1), MemorySource([b"abc"]))


def test_content_longer_than_its_id_says_is_cut() -> None:
    assert content(Blobs(MemorySource([b"abc"] * 3)).read(BlobId(0, 3, 0, 7))) == b"abcabca"


def test_a_place_that_lies_is_noticed_by_a_source_that_knows() -> None:
    placed = Placed()
    placed.append([b"abc"] * 9)
    invalid(BlobId(3, 3, 0, 9), placed, 4)


def test_empty_content_needs_no_core() -> None:
    for blob in (BlobId(0, 0, 0, 0), BlobId(99, 0, 99, 0), BlobId(5, 2, 0, 0)):
        assert content(Blobs(MemorySource()).read(blob)) == b""
    assert content(Blobs(MemorySource([b"a"])).read(BlobId(0, 0, 0, 0, True))) == b""


def test_a_missing_block_is_not_available() -> None:
    with pytest.raises(BlockNotAvailable):
        listed(Blobs(MemorySource([b"a", None])).read(BlobId(0, 2, 0, 2)))


# --- block maps


MAP_ENTRIES = st.lists(
    st.builds(MapEntry, st.integers(0, 2**53 - 1), st.integers(0, MAX_BLOCK_BYTES)), max_size=20
)


def read_map(*blocks: bytes) -> BlockMap:
    found = BlockMap()
    for block in blocks:
        found.add(block)
    return found


@given(MAP_ENTRIES)
def test_block_map_survives_a_round_trip_and_every_truncation(entries: list[MapEntry]) -> None:
    blocks = encode_block_map(entries)
    found = read_map(*blocks)
    assert [found[i] for i in range(len(found))] == entries
    assert found.byte_length == sum(entry.byte_length for entry in entries)
    for raw in blocks:
        for size in range(len(raw)):
            with pytest.raises(InvalidContent):
                read_map(raw[:size])


def test_a_map_goes_on_in_the_next_block() -> None:
    entries = [MapEntry(i, 1) for i in range(MAX_MAP_ENTRIES + 1)]
    blocks = encode_block_map(entries)
    assert len(blocks) == 2
    assert read_map(*blocks)[MAX_MAP_ENTRIES] == (MAX_MAP_ENTRIES, 1)
    assert read_map(*blocks).locate(MAX_MAP_ENTRIES) == (MAX_MAP_ENTRIES, 0)


def map_block(count: int, version: int = 0, index: int = 0, size: int = 1) -> bytes:
    w = Writer().uint(version).uint(count)
    for _ in range(count):
        w.uint(index).uint(size)
    return bytes(w)


def test_maps_are_bounded_in_entries_and_blocks() -> None:
    assert len(read_map(map_block(MAX_MAP_ENTRIES))) == MAX_MAP_ENTRIES
    with pytest.raises(InvalidContent, match="at most 8192"):
        read_map(map_block(MAX_MAP_ENTRIES + 1))
    with pytest.raises(InvalidContent, match="at most 8192"):
        read_map(bytes(Writer().uint(0).uint(2**53 - 1)))
    full = BlockMap()
    for _ in range(MAX_MAP_BLOCKS):
        full.add(map_block(1))
    with pytest.raises(InvalidContent, match="more than 64"):
        full.add(map_block(1))
    invalid(BlobId(0, MAX_MAP_BLOCKS + 1, 0, 100, True), MemorySource([map_block(1)] * 100))


def test_maps_of_other_versions_and_of_impossible_blocks_are_refused() -> None:
    with pytest.raises(InvalidContent, match="version 1"):
        read_map(map_block(1, version=1))
    with pytest.raises(InvalidContent, match="names a block of"):
        read_map(map_block(1, size=MAX_BLOCK_BYTES + 1))


def test_maps_that_do_not_fit_their_blocks_are_invalid_content() -> None:
    for raw in (map_block(1, index=7), map_block(1, size=2), map_block(1, index=2**53 - 1), b"\xff"):
        invalid(BlobId(1, 1, 0, len(raw), True), MemorySource([b"abc", raw]))


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=3))
def test_garbage_for_a_map_raises_only_invalid_content(blocks: list[bytes]) -> None:
    source = MemorySource(blocks)
    with suppress(InvalidContent):
        content(Blobs(source).read(BlobId(0, len(blocks), 0, 1, True)))


def test_a_map_is_read_once_for_many_ranges() -> None:
    log = Placed()
    blob = BlobWriter(log).put_deduplicated([b"abc", b"def"])
    blobs = Blobs(log)
    for start in range(6):
        content(blobs.read(blob, start, 1))
    assert log.read.count(2) == 1
    log.fork += 1
    content(blobs.read(blob))
    assert log.read.count(2) == 2
