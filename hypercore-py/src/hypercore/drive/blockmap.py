"""Block maps: the list of blocks that make up a deduplicated file.

Format: hyperblobs lib/block-map.js (2.12.1). A map block is `uint version` (0) and an array of {`uint index`,
`uint byteLength`}; the map of a file is one to 64 such blocks, read one after the other.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import NamedTuple

from ..codec import Reader, Writer
from ..errors import FrameDecodeError, InvalidContent

MAX_MAP_BLOCKS = 64
"""Map blocks of one file (hyperblobs lib/block-map.js refuses more)."""

MAX_MAP_ENTRIES = 8192
"""Entries in one map block (the official writer begins the next block there)."""

MAX_BLOCK_BYTES = 1 << 24
"""Bytes that no block exceeds: a message of the transport has less than 16 MiB."""


class MapEntry(NamedTuple):
    """Block `block` of the blobs core, and its size in bytes."""

    block: int
    byte_length: int


class BlockMap:
    """The map of a file. Up to half a million entries, kept as plain numbers: 8 MiB instead of 60."""

    def __init__(self) -> None:
        self._indices = array("Q")
        self._ends = array("Q")
        self._total = 0
        self._blocks = 0

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, position: int) -> MapEntry:
        start = self._ends[position - 1] if position else 0
        return MapEntry(self._indices[position], self._ends[position] - start)

    @property
    def byte_length(self) -> int:
        """Bytes of the file."""
        return self._total

    def indices(self, start: int, end: int) -> array[int]:
        return self._indices[start:end]

    def locate(self, offset: int) -> tuple[int, int]:
        """The map position of byte `offset` of the file, and the offset in its block."""
        position = bisect_right(self._ends, offset)
        return position, offset - (self._ends[position - 1] if position else 0)

    def add(self, map_block: bytes) -> None:
        """Read the next map block. Raises InvalidContent."""
        if self._blocks >= MAX_MAP_BLOCKS:
            raise InvalidContent(f"blob: a block map of more than {MAX_MAP_BLOCKS} blocks")
        self._blocks += 1
        try:
            self._read(Reader(map_block))
        except FrameDecodeError as error:
            raise InvalidContent(f"blob: a block map does not decode: {error}") from None

    def _read(self, r: Reader) -> None:
        version = r.uint()
        if version != 0:
            raise InvalidContent(f"blob: block map of version {version}, only 0 is known")
        count = r.uint()
        if count > MAX_MAP_ENTRIES:
            raise InvalidContent(
                f"blob: block map of {count} entries, at most {MAX_MAP_ENTRIES} fit one block"
            )
        for _ in range(count):
            self._indices.append(r.uint())
            size = r.uint()
            if size > MAX_BLOCK_BYTES:
                raise InvalidContent(f"blob: a block map names a block of {size} bytes")
            self._total += size
            self._ends.append(self._total)


def encode_block_map(entries: list[MapEntry]) -> list[bytes]:
    """The map blocks for a file. An empty file has none."""
    return [
        bytes(Writer().uint(0).array(entries[start : start + MAX_MAP_ENTRIES], _write_entry))
        for start in range(0, len(entries), MAX_MAP_ENTRIES)
    ]


def _write_entry(w: Writer, entry: MapEntry) -> None:
    w.uint(entry.block).uint(entry.byte_length)
