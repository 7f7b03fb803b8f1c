"""Finding one's way in a tree that the disk has bitten holes into."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import BlockNotAvailable
from ..merkle.flat_tree import depth, left_child, left_span, right_child, right_span
from ..merkle.hashing import parent_node
from ..merkle.source import NodeSource
from ..node import Node


def offset_around_gaps(nodes: NodeSource, roots: Sequence[Node], index: int) -> int:
    """Byte offset of leaf `index` when the left siblings that `byte_offset` adds up are not all there.

    The size of a lost node is that of its parent less that of its sibling. Raises BlockNotAvailable if both
    are lost.
    """
    offset = 0
    for root in roots:
        if index > right_span(root.index):
            offset += root.size
            continue
        at, size = root.index, root.size
        while left_span(at) != index:
            left, right = nodes.get(left_child(at)), nodes.get(right_child(at))
            if left is not None:
                left_size = left.size
            elif right is not None:
                left_size = size - right.size
            else:
                raise BlockNotAvailable(f"the place of block {index // 2} is lost")
            if index < at:
                at, size = left_child(at), left_size
            else:
                at, size = right_child(at), size - left_size
                offset += left_size
        return offset
    raise BlockNotAvailable(f"block {index // 2} is beyond the tree")


def rebuilt(nodes: NodeSource, index: int) -> Node | None:
    """A lost node, made again from its two children."""
    if depth(index) == 0:
        return None
    left, right = nodes.get(left_child(index)), nodes.get(right_child(index))
    return None if left is None or right is None else parent_node(left, right)
