"""Blocks that were served a moment ago, for the next reader who asks for them.

Readers that start together ask for the same blocks. A block is kept under the hash of its leaf, which was
computed from these very bytes: whatever becomes of the core or of the disk meanwhile, what is found here
under the hash that a tree has is the block that this tree means.
"""

from __future__ import annotations

from collections import OrderedDict

RECENT_CACHE_BYTES = 8 << 20
"""Bytes of recently served blocks that a store keeps, with RECENT_OVERHEAD for each."""

RECENT_OVERHEAD = 300
"""Bytes counted for a kept block besides its content (measured)."""

MAX_RECENT_BLOCK_BYTES = 1 << 20
"""Larger blocks are not kept: a few of them would be all there is room for."""


class RecentBlocks:
    """The least recently used ones are forgotten first."""

    __slots__ = ("_blocks", "bytes")

    def __init__(self) -> None:
        self._blocks: OrderedDict[bytes, bytes] = OrderedDict()
        self.bytes = 0
        """What is kept, overhead included."""

    def get(self, leaf_hash: bytes) -> bytes | None:
        block = self._blocks.get(leaf_hash)
        if block is not None:
            self._blocks.move_to_end(leaf_hash)
        return block

    def put(self, leaf_hash: bytes, block: bytes) -> None:
        """Keeps a block, which was found to have this hash."""
        if len(block) > MAX_RECENT_BLOCK_BYTES or leaf_hash in self._blocks:
            return
        self._blocks[leaf_hash] = block
        self.bytes += len(block) + RECENT_OVERHEAD
        while self.bytes > RECENT_CACHE_BYTES:
            _, old = self._blocks.popitem(last=False)
            self.bytes -= len(old) + RECENT_OVERHEAD
