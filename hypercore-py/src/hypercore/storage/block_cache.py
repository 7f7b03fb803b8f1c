"""Blocks that were served lately, for the next reader that requests them.

Readers that start together request the same blocks. A block is stored under the hash of its leaf, computed
from its bytes. So a block found under the hash of a tree node is the right one, whatever changed in the core
or on the disk meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict

RECENT_CACHE_BYTES = 8 << 20
"""Bytes of recently served blocks that a store keeps, with RECENT_OVERHEAD for each."""

RECENT_OVERHEAD = 300
"""Bytes counted for a kept block besides its content (measured)."""

MAX_RECENT_BLOCK_BYTES = 1 << 20
"""Larger blocks are not kept: only a few would fit."""


class RecentBlocks:
    """A cache that drops the least recently used blocks first."""

    __slots__ = ("_blocks", "bytes")

    def __init__(self) -> None:
        self._blocks: OrderedDict[bytes, bytes] = OrderedDict()
        self.bytes = 0
        """Bytes of the kept blocks, overhead included."""

    def get(self, leaf_hash: bytes) -> bytes | None:
        block = self._blocks.get(leaf_hash)
        if block is not None:
            self._blocks.move_to_end(leaf_hash)
        return block

    def put(self, leaf_hash: bytes, block: bytes) -> None:
        """Keep a block whose leaf hash was computed from its bytes."""
        if len(block) > MAX_RECENT_BLOCK_BYTES or leaf_hash in self._blocks:
            return
        self._blocks[leaf_hash] = block
        self.bytes += len(block) + RECENT_OVERHEAD
        while self.bytes > RECENT_CACHE_BYTES:
            _, old = self._blocks.popitem(last=False)
            self.bytes -= len(old) + RECENT_OVERHEAD
