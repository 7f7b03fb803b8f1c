"""Hyperblobs: the contents of files, as plain blocks in a core. Reading.

Format: hyperblobs index.js and lib/streams.js (2.12.1). Blocks are usually 64 KiB; the format allows any
size.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

from ..blocks import BlockSource, ByteRange, Prefetch, byte_range_of, prefetch_of
from ..errors import InvalidContent, LocalProtocolError
from .blockmap import MAX_MAP_BLOCKS, BlockMap
from .entries import BlobId

DEFAULT_BLOCK_BYTES = 1 << 16
"""Size of a block by the official writer (hyperblobs index.js)."""

WINDOW_BYTES = 8 << 20
"""Bytes hinted ahead of a reader. 8 MiB in flight allow 80 MB/s at a round trip of 100 ms."""

MAX_WINDOW_BLOCKS = 256
"""Largest number of blocks hinted ahead, for files in tiny blocks."""

MIN_WINDOW_BLOCKS = 4
"""Least number of blocks hinted ahead, for files in huge blocks."""


class Blobs:
    """Reads content from the blobs core of a drive."""

    def __init__(self, source: BlockSource) -> None:
        self.source = source
        self._prefetch = prefetch_of(source)
        self._byte_range = byte_range_of(source)
        self._last_map: tuple[BlobId, int, BlockMap] | None = None

    async def size(self, blob: BlobId) -> int:
        """Bytes of content. Fetches the map of a deduplicated file."""
        return (await self.block_map(blob)).byte_length if blob.block_map else blob.byte_length

    async def read(
        self, blob: BlobId, start: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Chunks of the content from byte `start` on, `length` bytes or up to the end.

        Raises InvalidContent if the blocks do not match the id, and BlockNotAvailable.
        """
        if start < 0 or (length is not None and length < 0):
            raise LocalProtocolError(f"cannot read {length} bytes from {start}")
        size = await self.size(blob)
        end = size if length is None else min(size, start + length)
        if start >= end:
            return
        read = self._read_mapped if blob.block_map else self._read_plain
        async for chunk in read(blob, start, end):
            yield chunk

    async def block_map(self, blob: BlobId) -> BlockMap:
        """The map of a deduplicated file."""
        fork = self.source.fork
        if self._last_map is not None and self._last_map[:2] == (blob, fork):
            return self._last_map[2]
        if blob.block_length > MAX_MAP_BLOCKS:
            raise InvalidContent(
                f"blob: a block map of {blob.block_length} blocks, at most {MAX_MAP_BLOCKS} may be"
            )
        await self._require(blob)
        blocks = range(blob.block_offset, blob.block_offset + blob.block_length)
        if self._prefetch is not None and blocks:
            self._prefetch(blocks)
        found = BlockMap()
        for index in blocks:
            found.add(await self.source.get(index))
        self._last_map = (blob, fork, found)
        return found

    async def _read_mapped(self, blob: BlobId, start: int, end: int) -> AsyncGenerator[bytes, None]:
        found = await self.block_map(blob)
        position, skip = found.locate(start)
        last, _ = found.locate(end - 1)
        ahead = _Ahead(self._prefetch, found.indices, last + 1, _window(found.byte_length, len(found)))
        left = end - start
        while left:
            index, size = found[position]
            if index >= self.source.length:
                await self.source.update()
            if index >= self.source.length:
                raise InvalidContent(f"blob: a block map names block {index} of {self.source.length}")
            ahead.reached(position)
            block = await self.source.get(index)
            if len(block) != size:
                raise InvalidContent(f"blob: block {index} has {len(block)} bytes, its map says {size}")
            chunk = block[skip : skip + left] if skip or size > left else block
            position, skip, left = position + 1, 0, left - len(chunk)
            if chunk:
                yield chunk

    async def _read_plain(self, blob: BlobId, start: int, end: int) -> AsyncGenerator[bytes, None]:
        await self._require(blob)
        after = blob.block_offset + blob.block_length
        index, skip = await self._locate(blob, start)
        # The block at which a range ends is unknown: estimate it by the mean and the usual size
        typical = max(1, min(blob.byte_length // max(1, blob.block_length), DEFAULT_BLOCK_BYTES))
        until = min(after, index + (skip + end - start) // typical + 2)
        ahead = _Ahead(self._prefetch, range, until, _window(blob.byte_length, blob.block_length))
        left = end - start
        while left:
            if index >= after:
                raise InvalidContent(
                    f"blob: {blob.block_length} blocks hold less than {blob.byte_length} bytes"
                )
            ahead.reached(index)
            block = await self.source.get(index)
            index += 1
            if skip >= len(block):
                skip -= len(block)
                continue
            chunk = block[skip : skip + left] if skip or len(block) > left else block
            skip, left = 0, left - len(chunk)
            yield chunk

    async def _require(self, blob: BlobId) -> None:
        """Update the core once if it is shorter than the id requires. Raises InvalidContent if it stays
        so."""
        end = blob.block_offset + blob.block_length
        if end > self.source.length:
            await self.source.update()
        if end > self.source.length:
            raise InvalidContent(f"blob: it ends at block {end}, the core has {self.source.length}")

    async def _locate(self, blob: BlobId, start: int) -> tuple[int, int]:
        """A block at or before byte `start` of the blob, and the bytes from its beginning to there."""
        if start == 0 or self._byte_range is None:
            return blob.block_offset, start
        return await self._search(blob, start, self._byte_range)

    async def _search(self, blob: BlobId, start: int, byte_range: ByteRange) -> tuple[int, int]:
        """Guess the block, and correct the guess by the byte range of that block.

        Blocks of one size are found at the first guess; others by bisection.
        """
        wanted = blob.byte_offset + start
        low, high = blob.block_offset, blob.block_offset + blob.block_length - 1
        guess = min(high, low + start // _usual_block_size(blob))
        while low <= high:
            await self.source.get(guess)
            offset, size = byte_range(guess)
            if offset <= wanted < offset + size:
                return guess, wanted - offset
            if wanted < offset:
                high = guess - 1
            else:
                low = guess + 1
            guess = (low + high) >> 1
        raise InvalidContent(f"blob: byte {wanted} of the core is not in the blocks of the blob")


class _Ahead:
    """Keeps hints a window ahead of a reader, refilled by halves."""

    def __init__(
        self, prefetch: Prefetch | None, blocks: Callable[[int, int], Sequence[int]], end: int, window: int
    ) -> None:
        self._prefetch = prefetch
        self._blocks = blocks
        self._end = end
        self._window = window
        self._refill_at = 0

    def reached(self, position: int) -> None:
        """The reader is about to request the block at `position`."""
        if self._prefetch is None or position < self._refill_at:
            return
        self._refill_at = position + (self._window + 1) // 2
        # The half that was hinted before is hinted again: a busy source may have ignored it
        blocks = self._blocks(position, min(self._end, position + self._window))
        if len(blocks) > 1:  # the reader requests the first one itself
            self._prefetch(blocks)


def _window(byte_length: int, blocks: int) -> int:
    """Number of blocks to keep in flight."""
    mean = max(1, byte_length // max(1, blocks))
    return max(MIN_WINDOW_BLOCKS, min(MAX_WINDOW_BLOCKS, WINDOW_BYTES // mean))


def _usual_block_size(blob: BlobId) -> int:
    """The likely size of all blocks but the last: the mean, rounded up to a power of two."""
    mean = -(-blob.byte_length // max(1, blob.block_length))
    usual: int = 1 << max(0, mean - 1).bit_length()
    uniform = -(-blob.byte_length // usual) == blob.block_length
    return usual if uniform else max(1, mean)
