"""A node of the Merkle tree, as it is stored and as it travels.

Wire form: `uint index`, `uint size`, 32 bytes of hash (hypercore lib/messages.js, `node`).
"""

from __future__ import annotations

from typing import NamedTuple

from .codec import Reader, Writer, encode_uint


class Node(NamedTuple):
    """`index` is the flat-tree index, `size` the bytes under the node, `hash` 32 bytes."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    size: int
    hash: bytes


def read_node(r: Reader) -> Node:
    return Node(r.uint(), r.uint(), r.fixed(32))


def write_node(w: Writer, node: Node) -> Writer:
    index, size, digest = node
    w.data += encode_uint(index) + encode_uint(size)
    return w.fixed(digest, 32)
