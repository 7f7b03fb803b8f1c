"""Nodes of the B-tree while they are written: splitting, borrowing, merging. Rules: hyperbee index.js
(2.27.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .messages import MAX_KEYS, Child, TreeNode

MIN_KEYS = MAX_KEYS // 2
"""Fewest keys in a node that is not the root."""


@dataclass(slots=True)
class KeyRef:
    """A key by the block that holds it. `key` is None until it is read."""

    seq: int
    key: bytes | None = None


@dataclass(slots=True)
class ChildRef:
    """A node by its location. `node` is None until it is read. Block 0: not stored yet, or not any more."""

    seq: int
    offset: int
    node: WritableNode | None = None

    def stored_node(self) -> TreeNode:
        """The node as it goes into the block."""
        if self.node is None:
            return TreeNode([], [])
        keys = [key.seq for key in self.node.keys]
        return TreeNode(keys, [Child(child.seq, child.offset) for child in self.node.children])


@dataclass(slots=True)
class WritableNode:
    """`changed` nodes go into the next block."""

    keys: list[KeyRef]
    children: list[ChildRef]
    changed: bool = field(default=True, kw_only=True)

    @property
    def is_too_large(self) -> bool:
        return len(self.keys) > MAX_KEYS


LoadChild = Callable[[WritableNode, int], WritableNode]


def index_changes(node: WritableNode, seq: int, index: list[ChildRef]) -> int:
    """Give the changed nodes from `node` down their place in block `seq`, parents first, and list them in
    `index`.

    Returns the place of `node`.
    """
    offset = len(index)
    index.append(ChildRef(seq, offset, node))
    node.changed = False
    for child in node.children:
        if child.node is not None and child.node.changed:
            child.seq = seq
            child.offset = index_changes(child.node, seq, index)
            index[child.offset] = child  # the very reference of the parent, so that its later moves are seen
    return offset


def split(node: WritableNode) -> tuple[KeyRef, WritableNode]:
    """Cut the right half off a node. Returns the median and that half."""
    half = len(node.keys) // 2
    right = WritableNode(node.keys[-half:], node.children[-half - 1 :] if node.children else [])
    del node.keys[-half:]
    del node.children[len(node.children) - len(right.children) :]
    node.changed = True
    return node.keys.pop(), right


def take_from_leaf(node: WritableNode, index: int, path: list[WritableNode], load: LoadChild) -> KeyRef:
    """Remove the key right before or right after key `index` of an inner node, from whichever leaf has more
    keys.

    Adds the way down to that leaf to `path`.
    """
    left, right = _edge(node, index, load, -1), _edge(node, index + 1, load, 0)
    if len(left[-1].keys) < len(right[-1].keys):
        path += right
        return right[-1].keys.pop(0)
    path += left
    return left[-1].keys.pop()


def _edge(node: WritableNode, index: int, load: LoadChild, side: int) -> list[WritableNode]:
    """From child `index` down along one side (0 left, -1 right) to the leaf."""
    way = [load(node, index)]
    while way[-1].children:
        way.append(load(way[-1], side % len(way[-1].children)))
    return way


def rebalance(path: list[WritableNode], load: LoadChild) -> WritableNode:
    """Repair the nodes from the leaf at the end of `path` up. Returns the root, which may be another one
    now."""
    root = path[0]
    while len(path) > 1:
        node = path.pop()
        if len(node.keys) >= MIN_KEYS:
            return root
        parent = path[-1]
        index = next(i for i, child in enumerate(parent.children) if child.node is node)
        left = load(parent, index - 1) if index > 0 else None
        right = load(parent, index + 1) if index + 1 < len(parent.children) else None
        if left is not None and len(left.keys) > MIN_KEYS:
            _borrow_from_left(parent, index, left, node)
            return root
        if right is not None and len(right.keys) > MIN_KEYS:
            _borrow_from_right(parent, index, node, right)
            return root
        if left is not None:
            _merge(parent, index - 1, left, node)
        elif right is not None:
            _merge(parent, index, node, right)
    if not root.keys and root.children:
        return load(root, 0)
    return root


def _borrow_from_left(parent: WritableNode, index: int, left: WritableNode, node: WritableNode) -> None:
    left.changed = True
    node.keys.insert(0, parent.keys[index - 1])
    if left.children:
        node.children.insert(0, left.children.pop())
    parent.keys[index - 1] = left.keys.pop()


def _borrow_from_right(parent: WritableNode, index: int, node: WritableNode, right: WritableNode) -> None:
    right.changed = True
    node.keys.append(parent.keys[index])
    if right.children:
        node.children.append(right.children.pop(0))
    parent.keys[index] = right.keys.pop(0)


def _merge(parent: WritableNode, index: int, left: WritableNode, right: WritableNode) -> None:
    """Put key `index` of the parent and all of `right` at the end of `left`."""
    left.changed = True
    left.keys.append(parent.keys.pop(index))
    left.keys += right.keys
    left.children += right.children
    parent.children.pop(index + 1).seq = 0
