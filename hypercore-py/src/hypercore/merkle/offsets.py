"""Positions in a tree: offsets of blocks, the block of a byte, the nodes that a proof must have."""

from __future__ import annotations

from collections.abc import Sequence

from ..node import Node
from .flat_tree import leaf_count, left_child, left_span, right_child, right_span
from .source import NodeSource, require_node


def byte_offset(nodes: NodeSource, roots: Sequence[Node], index: int) -> int:
    """Bytes before the first block under tree node `index` (flat-tree), in the tree of these roots.

    2 * length is the end. For a verified block all needed nodes are stored; otherwise raises
    BlockNotAvailable.
    """
    leaf = left_span(index)
    offset = 0
    for root in roots:
        if leaf > right_span(root.index):
            offset += root.size
            continue
        return offset + offset_below(nodes, root.index, leaf)
    end = right_span(roots[-1].index) + 2 if roots else 0
    if leaf != end:
        raise ValueError(f"tree node {index} is outside of the tree")
    return offset


def offset_below(nodes: NodeSource, top: int, leaf: int) -> int:
    """Bytes between the first block under the tree node `top` and the block at `leaf`, which is under it.

    Raises BlockNotAvailable where nodes are missing.
    """
    at, offset = top, 0
    while left_span(at) != leaf:
        left = left_child(at)
        if leaf < at:
            at = left
        else:
            offset += require_node(nodes, left).size
            at = right_child(at)
    return offset


def seek(nodes: NodeSource, roots: Sequence[Node], position: int, padding: int = 0) -> tuple[int, int]:
    """The block that holds byte `position`, and the offset in it. The end is (length, 0).

    `padding` bytes at the start of each block do not count (8 for encrypted cores); the offset returned does
    not count them either. Raises ValueError beyond the end and BlockNotAvailable where nodes are missing.
    """
    for root in roots:
        size = unpadded_size(root, padding)
        if position >= size:
            position -= size
            continue
        at = root.index
        while at & 1:
            left = require_node(nodes, left_child(at))
            size = unpadded_size(left, padding)
            if position < size:
                at = left.index
            else:
                position -= size
                at = right_child(at)
        return at // 2, position
    if position:
        raise ValueError(f"position is {position} bytes beyond the end")
    return (right_span(roots[-1].index) // 2 + 1 if roots else 0), 0


def unpadded_size(node: Node, padding: int) -> int:
    """Bytes under the node without the padding of each block."""
    return node.size - padding * leaf_count(node.index) if padding else node.size


def missing_nodes(nodes: NodeSource, length: int, index: int) -> int:
    """The number of `nodes` to request with tree node `index` (2 * number for a block) when the local tree
    has `length` blocks.

    It is the number of levels up to the first stored node: 0 for stored nodes, and for nodes beyond the tree,
    which need an upgrade in the same request, with its own nodes.
    """
    end = 2 * length
    place = index + 1
    level = place & -place
    if place + level > end:
        return 0
    count = 0
    get = nodes.get
    # `place - level` is the left span; stop where a parent would reach beyond the tree
    while place + level <= end and get(place - 1) is None:
        count += 1
        place = (place | level << 1) ^ level
        level <<= 1
    return count
