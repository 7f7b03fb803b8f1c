"""The order of a scrub: down from the roots, each stored node checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..bitfield import Bitfield
from ..merkle.flat_tree import left_child, left_span, right_child, right_span
from ..merkle.hashing import parent_node
from ..merkle.head import TreeHead
from ..merkle.source import NodeSource
from ..node import Node


class Step(NamedTuple):
    """A block to check, or a tree node (`contradicts`) whose stored children do not hash to it."""

    number: int
    contradicts: bool


def scrub_order(
    nodes: NodeSource, head: Callable[[], TreeHead], bits: Bitfield, start: int
) -> Iterator[Step]:
    """Every block that is present, from `start` on, in order. Whatever is asked may change between two steps.

    Where children are missing there is nothing to compare with: what lies below is taken as it is.
    """
    seen: TreeHead | None = None
    stack: list[int] = []
    while True:
        if head() is not seen:  # the head has changed: continue with its trees, after the checked blocks
            seen = head()
            stack = [root.index for root in reversed(seen.roots)]
        if not stack:
            return
        at = stack.pop()
        first, end = left_span(at) // 2, right_span(at) // 2 + 1
        if bits.first_set(max(first, start), end) is None:
            continue
        if not at & 1:
            start = end
            yield Step(first, False)
            continue
        if _contradicts(nodes, seen, at):
            yield Step(at, True)
        stack += (right_child(at), left_child(at))


def _contradicts(nodes: NodeSource, head: TreeHead, index: int) -> bool:
    left, right = nodes.get(left_child(index)), nodes.get(right_child(index))
    if left is None or right is None:
        return False
    node = next((root for root in head.roots if root.index == index), None) or nodes.get(index)
    return node is not None and Node(*node) != parent_node(left, right)
