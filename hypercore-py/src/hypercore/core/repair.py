"""Offsets and nodes of a tree with lost pages."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import BlockNotAvailable
from ..merkle.flat_tree import depth, left_child, left_span, right_child, right_span
from ..merkle.hashing import parent_node
from ..merkle.head import TreeHead
from ..merkle.source import NodeSource
from ..node import Node
from ..storage.node_pages import NODES_PER_PAGE


def offset_around_gaps(nodes: NodeSource, roots: Sequence[Node], index: int) -> int:
    """Byte offset of leaf `index` when some of the left siblings that `byte_offset` adds are lost.

    The size of a lost node is that of its parent minus that of its sibling. Raises BlockNotAvailable if both
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


def nodes_of_page(nodes: NodeSource, head: TreeHead, page: int) -> list[Node]:
    """Nodes of a lost page that can be restored: roots of the head, and the parent of the pages below."""
    first, end = page * NODES_PER_PAGE, (page + 1) * NODES_PER_PAGE
    known = [root for root in head.roots if first <= root.index < end]
    top = _rebuilt(nodes, end - 1)
    return known if top is None or top.index >= 2 * head.length else [*known, top]


def _rebuilt(nodes: NodeSource, index: int) -> Node | None:
    """A lost node, computed from its two children; None if one is lost."""
    if depth(index) == 0:
        return None
    left, right = nodes.get(left_child(index)), nodes.get(right_child(index))
    return None if left is None or right is None else parent_node(left, right)
