"""A node of the Merkle tree.

Wire form: `uint index`, `uint size`, 32 bytes of hash (hypercore lib/messages.js, `node`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from .codec import Reader, Writer, encode_uint
from .errors import LocalProtocolError


class Node(NamedTuple):
    """`index` is the flat-tree index, `size` the bytes under the node, `hash` 32 bytes."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    size: int
    hash: bytes


new_node: Callable[[tuple[int, int, bytes]], Node] = partial(tuple.__new__, Node)
"""`Node(*fields)` in a third of the time: a block takes twenty of them and more."""


def read_node(r: Reader) -> Node:
    return new_node((r.uint(), r.uint(), r.fixed(32)))


def write_node(w: Writer, node: Node) -> Writer:
    index, size, digest = node
    if len(digest) != 32:
        raise LocalProtocolError(f"the hash of tree node {index} has {len(digest)} bytes, not 32")
    w.data += encode_uint(index) + encode_uint(size) + digest
    return w
