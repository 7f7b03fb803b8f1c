"""Computes the byte range of a block in its core."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import BlockNotAvailable
from ..merkle.offsets import byte_offset
from ..merkle.source import NodeSource, require_node
from ..node import Node
from ..storage.base import Dropped
from .repair import offset_around_gaps

_LONG_RUN = 32  # blocks in a row from which finding both ends is cheaper than adding all sizes


class BlockLocator:
    """Computes byte ranges from the tree. `roots` are those of the newest head."""

    __slots__ = ("_hint", "_nodes", "roots")

    def __init__(self, nodes: NodeSource, roots: tuple[Node, ...]) -> None:
        self._nodes = nodes
        self.roots = roots
        self._hint = (0, 0)
        """Number and byte offset of the block that is likely to be located next."""

    def reset(self) -> None:
        """Drop the hint: blocks were removed, or nodes lost."""
        self._hint = (0, 0)

    def locate(self, index: int) -> tuple[int, int]:
        """Byte offset and size of a block. Raises BlockNotAvailable if nodes are missing."""
        leaf = require_node(self._nodes, 2 * index)
        likely, offset = self._hint
        if likely != index:
            try:
                offset = byte_offset(self._nodes, self.roots, 2 * index)
            except BlockNotAvailable:
                offset = offset_around_gaps(self._nodes, self.roots, 2 * index)
        self._hint = (index + 1, offset + leaf.size)
        return offset, leaf.size

    def total_bytes(self, runs: Iterable[tuple[int, int]]) -> int:
        """Bytes of the blocks of these runs, without blocks that have no node."""
        return sum(self._run_bytes(start, end) for start, end in runs)

    def dropped(self, start: int, end: int) -> Dropped:
        """Blocks start..end for the storage, with their byte range if it is known."""
        try:
            first = self.locate(start)[0]
            return Dropped(start, end, first, sum(self.locate(end - 1)))
        except BlockNotAvailable:
            return Dropped(start, end, None, None)

    def _run_bytes(self, start: int, end: int) -> int:
        if end - start > _LONG_RUN:
            try:
                return sum(self.locate(end - 1)) - self.locate(start)[0]
            except BlockNotAvailable:
                pass  # the tree lacks nodes there
        leaves = (self._nodes.get(2 * index) for index in range(start, end))
        return sum(leaf.size for leaf in leaves if leaf is not None)
