"""The interface of tree nodes: a store, a cache, or a dict."""

from __future__ import annotations

from typing import Protocol

from ..errors import BlockNotAvailable
from ..node import Node


class NodeSource(Protocol):
    """Verified tree nodes by flat-tree index. `dict[int, Node]` is one."""

    def get(self, index: int, /) -> Node | None:
        """Return the node, or None if it is not known."""


def require_node(nodes: NodeSource, index: int) -> Node:
    """The node. Raises BlockNotAvailable if it is missing."""
    node = nodes.get(index)
    if node is None:
        raise BlockNotAvailable(f"tree node {index} is not stored")
    return node
