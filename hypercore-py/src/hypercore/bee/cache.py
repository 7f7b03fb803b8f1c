"""Decoded blocks of a bee, shared by all views of one source."""

from __future__ import annotations

from collections import OrderedDict

from ..blocks import BlockSource, peek_of
from ..errors import InvalidContent, SnapshotNotAvailable
from .messages import BeeBlock

MAX_CACHED_BYTES = 4 << 20
"""Block bytes kept decoded (our own choice: some ten thousand file entries)."""

OVERHEAD = 512
"""Bytes of memory for a decoded block beside its own."""


class BlockCache:
    """Decodes blocks and keeps those used last. Emptied when the source moves to another fork."""

    def __init__(self, source: BlockSource, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._source = source
        self._peek = peek_of(source)
        self._blocks: OrderedDict[int, BeeBlock] = OrderedDict()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._fork = source.fork

    async def get(self, seq: int) -> BeeBlock:
        """The decoded block. Raises InvalidContent, BlockNotAvailable, and SnapshotNotAvailable if the core
        was truncated while we waited."""
        block = self.cached(seq)
        if block is None:
            fork = self._source.fork
            data = await self._source.get(seq)
            if self._source.fork != fork:
                raise SnapshotNotAvailable("the core was truncated while it was read")
            block = self._add(seq, data)
        return block

    def peek(self, seq: int) -> BeeBlock | None:
        """The decoded block if it is stored or cached, else None. Raises InvalidContent."""
        block = self.cached(seq)
        if block is None and self._peek is not None:
            data = self._peek(seq)
            if data is not None:
                return self._add(seq, data)
        return block

    def cached(self, seq: int) -> BeeBlock | None:
        if self._fork != self._source.fork:
            self._blocks.clear()
            self._bytes = 0
            self._fork = self._source.fork
        block = self._blocks.get(seq)
        if block is not None:
            self._blocks.move_to_end(seq)
        return block

    def _add(self, seq: int, data: bytes) -> BeeBlock:
        if seq < 1:
            raise InvalidContent(f"bee: block {seq} holds no key")
        block = BeeBlock.decode(seq, data)
        if seq not in self._blocks:
            self._bytes += block.size + OVERHEAD
        self._blocks[seq] = block
        while self._bytes > self._max_bytes and len(self._blocks) > 1:
            _, oldest = self._blocks.popitem(last=False)
            self._bytes -= oldest.size + OVERHEAD
        return block
