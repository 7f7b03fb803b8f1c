"""Consecutive blocks in a core's file, read and verified outside of the thread that owns the store.

Reading one block at a time costs more than its hash. A run is prepared in the store's thread, which knows the
places and hashes of its blocks, and read in any other one: neither `pread` nor BLAKE2b holds the interpreter.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from .._types import Buffer
from ..bitfield import Bitfield
from ..merkle.hashing import leaf_hash
from ..merkle.source import NodeSource
from ..node import Node


class StoredRun:
    """Made by `Core.stored_run`. `close` it."""

    __slots__ = ("_descriptor", "_leaves", "_offset", "size")

    def __init__(self, descriptor: int, offset: int, leaves: Sequence[Node]) -> None:
        """`leaves` of the blocks, which begin at byte `offset` of the file. The run owns the descriptor."""
        self._descriptor = descriptor
        self._offset = offset
        self._leaves = leaves
        self.size = sum(leaf.size for leaf in leaves)
        """Bytes of the blocks."""

    def __len__(self) -> int:
        return len(self._leaves)

    @property
    def start(self) -> int:
        """The number of the first block."""
        return self._leaves[0].index // 2

    def read(self) -> bytes | None:
        """All blocks joined, verified. None if one of them is not there any more, or corrupt: read them one
        by one."""
        data = self.load()
        return data if data is not None and self.matches(data) else None

    def load(self) -> bytes | None:
        """All blocks joined, as the file has them: nothing is verified. None if they are not there any
        more."""
        try:
            data = os.pread(self._descriptor, self.size, self._offset)
        except OSError:
            return None
        return data if len(data) == self.size else None

    def matches(self, data: Buffer) -> bool:
        """Whether these `size` bytes are the blocks, by their hashes."""
        view, at = memoryview(data), 0
        for leaf in self._leaves:
            if leaf_hash(view[at : at + leaf.size]) != leaf.hash:
                return False
            at += leaf.size
        return True

    def file_state(self) -> os.stat_result:
        """What the system says of the file now. Raises OSError."""
        return os.fstat(self._descriptor)

    def close(self) -> None:
        """Close the descriptor. Safe to repeat."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def leading_leaves(nodes: NodeSource, stored: Bitfield, blocks: range, max_bytes: int) -> list[Node]:
    """The leaves of the first of these blocks: as many as are stored in a row and have `max_bytes` together,
    or one."""
    leaves: list[Node] = []
    size = 0
    for index in blocks:
        leaf = nodes.get(2 * index) if stored.get(index) else None
        if leaf is None or (leaves and size + leaf.size > max_bytes):
            break
        leaves.append(leaf)
        size += leaf.size
    return leaves
