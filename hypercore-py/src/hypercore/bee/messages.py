"""The two kinds of block in a bee: block 0 is a `Header`, every other a `BeeBlock`.

Format: hyperbee lib/messages.js (2.27.3), Protocol Buffers.

Block n holds one key with its value, and those nodes of the B-tree that the write of block n changed. Node
0 of the last block of a write is the root of the tree after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..errors import InvalidContent
from .protobuf import as_bytes, extend_packed, read_fields, write_bytes, write_packed

PROTOCOL = "hyperbee"

MAX_KEYS = 8
"""Keys in one tree node (hyperbee index.js: T = 5, so 2 * (T - 1))."""

MAX_DEPTH = 32
"""Tree nodes from the root to a leaf. 2^53 keys in nodes of 4 are 23 deep."""

MAX_NODES = 8 * MAX_DEPTH
"""Tree nodes in one block. A write changes the nodes of one path, their new siblings when they split and two
neighbours when they merge: at most four for each level; doubled as a margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Block 0."""

    protocol: str = PROTOCOL
    has_metadata: bool = False
    """Whether there is a metadata message, even an empty one. Drives have one."""
    content_feed: bytes | None = None
    """Key of a core that belongs to this one: the blobs of a drive."""
    user_data: bytes | None = None

    def encode(self) -> bytes:
        """Return the encoded message."""
        out, metadata = bytearray(), bytearray()
        if self.content_feed is not None:
            write_bytes(metadata, 1, self.content_feed)
        if self.user_data is not None:
            write_bytes(metadata, 2, self.user_data)
        write_bytes(out, 1, self.protocol.encode())
        if self.has_metadata or metadata:
            write_bytes(out, 2, metadata)
        return bytes(out)

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """Decode a header of any protocol. Raises InvalidContent."""
        protocol = metadata = None
        for number, value in read_fields(data):
            if number == 1:
                protocol = as_bytes(value)
            elif number == 2:
                metadata = as_bytes(value)
        if protocol is None:
            raise InvalidContent("block 0 is not a header: it names no protocol")
        content_feed = user_data = None
        for number, value in read_fields(metadata or b""):
            if number == 1:
                content_feed = as_bytes(value)
            elif number == 2:
                user_data = as_bytes(value)
        return cls(
            protocol=protocol.decode("utf-8", "replace"),
            has_metadata=metadata is not None,
            content_feed=content_feed,
            user_data=user_data,
        )


class Child(NamedTuple):
    """Reference to a tree node: number `offset` of block `seq`."""

    seq: int
    offset: int


class TreeNode(NamedTuple):
    """`keys` are the blocks of the keys, in order. `children` is empty (a leaf) or one longer than `keys`."""

    keys: list[int]
    children: list[Child]


class BeeBlock:
    """Block `seq`, from 1. Its tree nodes are decoded on demand.

    They are checked one by one, since a block may have nodes that no tree refers to: the official writer
    leaves them when a root is removed in a batch, and such a node may refer to missing ones.
    """

    __slots__ = ("_index", "_nodes", "key", "seq", "size", "value")

    def __init__(self, seq: int, key: bytes, value: bytes | None, index: bytes, size: int) -> None:
        self.seq = seq
        self.key = key
        self.value = value
        self.size = size
        """Bytes of the block, for accounting of memory."""
        self._index = index
        self._nodes: list[bytes | TreeNode] | None = None

    @classmethod
    def decode(cls, seq: int, data: bytes) -> BeeBlock:
        """Decode a block; `node` checks the tree nodes. Raises InvalidContent."""
        index = key = value = None
        for number, content in read_fields(data):
            if number == 1:
                index = as_bytes(content)
            elif number == 2:
                key = as_bytes(content)
            elif number == 3:
                value = as_bytes(content)
        if index is None or key is None:
            raise InvalidContent(f"bee: block {seq} has no {'index' if index is None else 'key'}")
        return cls(seq, key, value, index, len(data))

    def node(self, offset: int) -> TreeNode:
        """Tree node number `offset`, checked by itself. Raises InvalidContent."""
        nodes = self._split_index()
        if offset >= len(nodes):
            raise InvalidContent(f"bee: block {self.seq} has {len(nodes)} tree nodes, not a number {offset}")
        node = nodes[offset]
        if isinstance(node, bytes):
            node = nodes[offset] = self._checked(decode_node(node))
        return node

    def all_nodes(self) -> list[TreeNode]:
        """All tree nodes of the block, unchecked. Raises InvalidContent if they do not decode."""
        nodes = self._split_index()
        return [decode_node(node) if isinstance(node, bytes) else node for node in nodes]

    def is_deletion(self) -> bool:
        """Whether this block deleted its key.

        A value of None alone does not show that, since null may be stored. For nulls stored in the middle of
        a batch the answer is wrong, as in the official reader.
        """
        return self.value is None and not any(self.seq in node.keys for node in self.all_nodes())

    def _split_index(self) -> list[bytes | TreeNode]:
        if self._nodes is None:
            nodes: list[bytes | TreeNode] = []
            for number, value in read_fields(self._index):
                if number == 1:
                    nodes.append(as_bytes(value))
                if len(nodes) > MAX_NODES:
                    raise InvalidContent(f"bee: block {self.seq} has more than {MAX_NODES} tree nodes")
            self._nodes = nodes
            self._index = b""
        return self._nodes

    def _checked(self, node: TreeNode) -> TreeNode:
        keys, children = node
        if children and len(children) != len(keys) + 1:
            raise InvalidContent(
                f"bee: a tree node in block {self.seq} has {len(keys)} keys and {len(children)} children"
            )
        # Blocks refer only to earlier blocks; block 0 is the header
        for seq in (*keys, *(child.seq for child in children)):
            if not 0 < seq <= self.seq:
                raise InvalidContent(f"bee: a tree node in block {self.seq} refers to block {seq}")
        return node


def decode_node(data: bytes) -> TreeNode:
    """One tree node, as it is stored. Raises InvalidContent."""
    keys: list[int] = []
    pairs: list[int] = []
    for number, value in read_fields(data):
        if number == 1:
            extend_packed(keys, value, MAX_KEYS)
        elif number == 2:
            extend_packed(pairs, value, 2 * MAX_KEYS + 2)
    if len(pairs) % 2:
        raise InvalidContent("bee: a tree node with half a reference to a child")
    return TreeNode(keys, list(map(Child, pairs[::2], pairs[1::2])))


def encode_block(key: bytes, value: bytes | None, nodes: list[TreeNode]) -> bytes:
    """A block in the form of the official writer."""
    index, out = bytearray(), bytearray()
    for node in nodes:
        level = bytearray()
        write_packed(level, 1, node.keys)
        write_packed(level, 2, [number for child in node.children for number in child])
        write_bytes(index, 1, level)
    write_bytes(out, 1, index)
    write_bytes(out, 2, key)
    if value is not None:
        write_bytes(out, 3, value)
    return bytes(out)
