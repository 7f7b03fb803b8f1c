"""Flat-tree numbering: the nodes of a binary tree numbered in order, leaves even, parents odd.

Block i is leaf 2i. The depth of a node is its number of trailing one bits.
Source: mafintosh/flat-tree index.js (1.13.0).
"""

from __future__ import annotations

from collections.abc import Iterator


def depth(index: int) -> int:
    """0 for a leaf, 1 for its parent, and so on."""
    n = index + 1
    return (n & -n).bit_length() - 1


def offset(index: int) -> int:
    """Position of a node among those of its depth, from the left."""
    return (index + 1) >> (depth(index) + 1)


def node_at(level: int, position: int) -> int:
    """The node at depth `level`, `position` from the left."""
    return ((1 + 2 * position) << level) - 1


def parent(index: int) -> int:
    level = depth(index)
    return node_at(level + 1, (index + 1) >> (level + 2))


def sibling(index: int) -> int:
    bit = 2 << depth(index)
    return index + bit if not (index + 1) & bit else index - bit


def left_child(index: int) -> int:
    """Of a parent node (odd index)."""
    return index - ((index + 1) & -(index + 1)) // 2


def right_child(index: int) -> int:
    """Of a parent node (odd index)."""
    return index + ((index + 1) & -(index + 1)) // 2


def left_span(index: int) -> int:
    """The leftmost leaf under a node."""
    return index + 1 - ((index + 1) & -(index + 1))


def right_span(index: int) -> int:
    """The rightmost leaf under a node."""
    return index - 1 + ((index + 1) & -(index + 1))


def leaf_count(index: int) -> int:
    """How many leaves are under a node."""
    return (index + 1) & -(index + 1)


def contains(root: int, index: int) -> bool:
    """Whether `index` lies under (or is) `root`."""
    width = (root + 1) & -(root + 1)
    return root + 1 - width <= index <= root - 1 + width


def full_roots(length: int) -> Iterator[int]:
    """The roots of a tree of `length` leaves, left to right: the greatest powers of two first."""
    first = 0
    while length:
        leaves = 1 << (length.bit_length() - 1)
        yield 2 * first + leaves - 1
        first += leaves
        length -= leaves
