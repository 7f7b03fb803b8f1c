"""Blocks of the blobs core that no version of the drive refers to, and their reuse.

Contents are appended, and made durable, before the entry that names them. A publisher that is stopped in
between, or finds that a file has changed, leaves blocks that stay signed and are carried by every seeder. So
they are remembered: the next content that begins with them uses them, and only the rest is appended. Content
decides, byte by byte; the record only has candidates.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import BinaryIO, NamedTuple

from hypercore.blocks import WritableLog
from hypercore.crypto import blake2b_256
from hypercore.drive import BlobId

SPARE_META = "spare blobs"
"""Name of the store's `meta` value: `{"end": [block, byte], "ranges": [[start, end, byte], …]}` in JSON."""

BLOCK_BYTES = 65_536
"""Bytes of a block of content, as official writers use (hyperblobs index.js)."""

MAX_RANGES = 256
"""Ranges that are remembered; beyond that the smallest are dropped. Ours."""

MAX_INDEXED = 1 << 17
"""Blocks that can be found by content when they do not begin a range: 8 GiB of usual blocks. Ours."""

READ_TURN = 64
"""Blocks read between two pauses of the event loop's thread: about 1 ms. Ours."""


class Range(NamedTuple):
    """Blocks `start` to `end`; the first begins at byte `byte` of the (decrypted) core."""

    start: int
    end: int
    byte: int


class Match(NamedTuple):
    """Spare blocks that begin a content."""

    blob: BlobId
    whole: bool
    """Whether they are all of the content. Otherwise they end the core, and the rest must be appended."""


class SpareBlocks:
    """The spare blocks of one blobs core. `save` gets the state to keep, durable with the entries of the
    drive."""

    def __init__(self, log: WritableLog, saved: bytes | None, save: Callable[[bytes], None]) -> None:
        """`saved` is the last argument of `save`. None: nothing was ever published with this log."""
        self._log = log
        self._save = save
        self._ranges: list[Range] = []
        self._index: dict[bytes, list[tuple[int, int]]] | None = None
        end, byte = 0, 0
        if saved is not None:
            found = json.loads(saved)
            (end, byte), self._ranges = found["end"], [Range(*range_) for range_ in found["ranges"]]
        self._add(Range(end, log.length, byte))

    @property
    def count(self) -> int:
        """Number of unreferenced blocks."""
        return sum(found.end - found.start for found in self._ranges)

    def commit(self) -> None:
        """From the next flush on, everything taken or appended is referenced."""
        kept = sorted(self._ranges, key=lambda found: found.start - found.end)[:MAX_RANGES]
        text = json.dumps({"end": [self._log.length, self._log.byte_length], "ranges": sorted(kept)})
        self._save(text.encode())

    def release(self, blob: BlobId) -> None:
        """An appended or taken content is not referenced after all."""
        self._add(Range(blob.block_offset, blob.block_offset + blob.block_length, blob.byte_offset))

    async def take(self, file: BinaryIO) -> Match | None:
        """Take the spare blocks that hold the beginning of the file, up to its end or to that of the core.
        The file is left where they end, or (None) at its beginning.
        """
        if not self._ranges:
            return None
        async for start, byte in self._candidates(file):
            file.seek(0)
            found = await self._match(file, start, byte)
            if found is not None:
                self._remove(found.blob)
                return found
        file.seek(0)
        return None

    async def _candidates(self, file: BinaryIO) -> AsyncIterator[tuple[int, int]]:
        """Where the content may begin: (block, byte). Ranges first: a stopped publisher left them."""
        tried = set()
        for found in list(self._ranges):
            tried.add(found.start)
            yield found.start, found.byte
        file.seek(0)
        first = await asyncio.to_thread(file.read, BLOCK_BYTES)
        index = await self._indexed()
        for start, byte in list(index.get(blake2b_256(first), ())):
            if start not in tried:
                yield start, byte

    async def _indexed(self) -> dict[bytes, list[tuple[int, int]]]:
        if self._index is None:
            index: dict[bytes, list[tuple[int, int]]] = {}
            for count, (number, byte, block) in enumerate(self._blocks()):
                if count == MAX_INDEXED:
                    break
                index.setdefault(blake2b_256(block), []).append((number, byte))
                if count % READ_TURN == 0:
                    await asyncio.sleep(0)
            self._index = index
        return self._index

    def _blocks(self) -> Iterator[tuple[int, int, bytes]]:
        """(number, byte, content) of all stored spare blocks."""
        for found in list(self._ranges):
            byte = found.byte
            for number in range(found.start, found.end):
                block = self._log.peek(number)
                if block is None:
                    break
                yield number, byte, block
                byte += len(block)

    async def _match(self, file: BinaryIO, start: int, byte: int) -> Match | None:
        around = next((found for found in self._ranges if found.start <= start < found.end), None)
        if around is None:
            return None
        size, number = 0, start

        def matched(*, whole: bool) -> Match:
            return Match(BlobId(start, number - start, byte, size), whole)

        while number < around.end:
            block = self._log.peek(number)
            if not block:  # damaged, or of a content of no bytes: none begins with it
                return None
            read = await asyncio.to_thread(file.read, len(block))
            if read != block:
                return matched(whole=True) if not read and number > start else None
            size, number = size + len(block), number + 1
        if not await asyncio.to_thread(file.read, 1):
            return matched(whole=True)
        if number != self._log.length:
            return None
        file.seek(size)
        return matched(whole=False)

    def _add(self, new: Range) -> None:
        if new.end <= new.start:
            return
        self._index = None
        ranges: list[Range] = []
        for found in sorted((*self._ranges, new)):
            if ranges and found.start <= ranges[-1].end:
                ranges[-1] = ranges[-1]._replace(end=max(ranges[-1].end, found.end))
            else:
                ranges.append(found)
        self._ranges = ranges

    def _remove(self, taken: BlobId) -> None:
        start, end = taken.block_offset, taken.block_offset + taken.block_length
        left: list[Range] = []
        for found in self._ranges:
            if found.end <= start or found.start >= end:
                left.append(found)
                continue
            if found.start < start:
                left.append(found._replace(end=start))
            if end < found.end:
                left.append(Range(end, found.end, taken.byte_offset + taken.byte_length))
        self._ranges = left
