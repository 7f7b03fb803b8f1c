"""The four hashes of a Merkle tree. Source: hypercore-crypto index.js, `data`, `parent`, `tree` (3.7.0)."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from struct import Struct

from .._types import Buffer
from ..node import Node
from .flat_tree import parent

_PREFIX = Struct("<BQ").pack
_LEAF, _PARENT, _ROOTS = 0, 1, 2

_CONCATENATE_BELOW = 4096
"""Bytes up to which joining prefix and block is cheaper than a second hash call."""


def leaf_hash(block: Buffer) -> bytes:
    """Hash of a block and its size."""
    prefix = _PREFIX(_LEAF, len(block))
    if len(block) < _CONCATENATE_BELOW:
        return blake2b(prefix + block, digest_size=32).digest()
    state = blake2b(prefix, digest_size=32)
    state.update(block)
    return state.digest()


def leaf_node(index: int, block: Buffer) -> Node:
    """The node of block number `index` (flat-tree index 2 * `index`)."""
    return Node(2 * index, len(block), leaf_hash(block))


def parent_hash(size: int, left: bytes, right: bytes) -> bytes:
    """Hash of two nodes with `size` bytes under them together.

    Their order matters; their own sizes are not part of it.
    """
    return blake2b(_PREFIX(_PARENT, size) + left + right, digest_size=32).digest()


def parent_node(a: Node, b: Node) -> Node:
    """The parent of two siblings, given in either order."""
    left, right = (a, b) if a.index < b.index else (b, a)
    size = a.size + b.size
    return Node(parent(a.index), size, parent_hash(size, left.hash, right.hash))


def tree_hash(roots: Iterable[Node]) -> bytes:
    """Hash of a whole tree: of its roots, left to right, with indices and sizes. Signatures cover it."""
    state = blake2b(bytes([_ROOTS]), digest_size=32)
    for index, size, node_hash in roots:
        state.update(node_hash + index.to_bytes(8, "little") + size.to_bytes(8, "little"))
    return state.digest()
