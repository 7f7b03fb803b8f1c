"""Computes the byte range of a block in its core."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import BlockNotAvailable
from ..merkle.flat_tree import right_span
from ..merkle.offsets import byte_offset, offset_below
from ..merkle.source import NodeSource, require_node
from ..node import Node
from ..storage.base import Dropped
from .repair import offset_around_gaps

MAX_OFFSETS = 128
"""Byte offsets that are kept of a core, evenly spread: some 12 KB once it is read in random order, as by
official readers. Half of the levels of the tree need not be looked at then. Ours."""

_LONG_RUN = 32  # blocks in a row from which finding both ends is cheaper than adding all sizes


class BlockLocator:
    """Computes byte ranges from the tree. `roots` are those of the newest head."""

    __slots__ = ("_hint", "_nodes", "_offsets", "_spread", "roots")

    def __init__(self, nodes: NodeSource, roots: tuple[Node, ...]) -> None:
        self._nodes = nodes
        self.roots = roots
        self._hint = (0, 0)
        """Number and byte offset of the block that is likely to be located next."""
        self._spread = 1
        """Blocks from one kept offset to the next, a power of two."""
        self._offsets: dict[int, int] | None = None
        """Block -> its byte offset, for some multiples of `_spread`."""

    def reset(self) -> None:
        """Drop what is remembered: blocks were removed, or nodes lost."""
        self._hint = (0, 0)
        self._offsets = None

    def locate(self, index: int) -> tuple[int, int]:
        """Byte offset and size of a block. Raises BlockNotAvailable if nodes are missing."""
        leaf = require_node(self._nodes, 2 * index)
        likely, offset = self._hint
        if likely != index:
            try:
                offset = self._offset(index)
            except BlockNotAvailable:
                offset = offset_around_gaps(self._nodes, self.roots, 2 * index)
        self._hint = (index + 1, offset + leaf.size)
        return offset, leaf.size

    def _offset(self, index: int) -> int:
        nodes, roots = self._nodes, self.roots
        length = right_span(roots[-1].index) // 2 + 1 if roots else 0
        offsets, spread = self._offsets, self._spread
        if offsets is None or length > MAX_OFFSETS * spread:
            while length > MAX_OFFSETS * spread:
                spread *= 2
            offsets = self._offsets = {}
            self._spread = spread
        start = index - index % spread
        if start + spread > length:  # no node has just these blocks
            return byte_offset(nodes, roots, 2 * index)
        before = offsets.get(start)
        if before is None:
            before = offsets[start] = byte_offset(nodes, roots, 2 * start)
        return before + offset_below(nodes, 2 * start + spread - 1, 2 * index)

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
