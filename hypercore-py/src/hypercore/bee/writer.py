"""Hyperbee: writing. Blocks equal those of the official writer byte for byte.

Rules: hyperbee index.js (2.27.3). A write rewrites the nodes on the path from the root to its key into a
new block. A leaf that grows above 8 keys is split around its median; one that shrinks below 4 borrows a key
from a neighbour, the left one first, or is merged with it. In a batch all nodes stay in memory, and only
the last block gets the root.

The log must have the blocks of all changed nodes; they are read without waiting.
"""

from __future__ import annotations

from ..blocks import WritableLog
from ..errors import BlockNotAvailable, InvalidContent, LocalProtocolError
from .bee import SEPARATOR, BeeEntry
from .messages import PROTOCOL, BeeBlock, Header, encode_block
from .tree import ChildRef, KeyRef, WritableNode, index_changes, rebalance, split, take_from_leaf


class _NewBlock:
    """A block that is not appended yet. `index` has the references to its nodes."""

    def __init__(self, seq: int, key: bytes, value: bytes | None, index: list[ChildRef]) -> None:
        self.seq = seq
        self.key = key
        self.value = value
        self.index = index

    def drop_superseded(self) -> None:
        """Drop the root, and the nodes that a later block of the batch has rewritten.

        The last reference moves to the place of the dropped one, as in the official writer.
        """
        index, position = self.index, 0
        del index[:1]
        if index:
            index.insert(0, index.pop())
        while position < len(index):
            if index[position].seq == self.seq:
                index[position].offset = position
                position += 1
            else:
                last = index.pop()
                if position < len(index):
                    index[position] = last

    def encode(self) -> bytes:
        return encode_block(self.key, self.value, [ref.stored_node() for ref in self.index])


class BeeBatch:
    """Puts and deletions that are appended together, or not at all. Use as a context manager, or call
    `flush`."""

    def __init__(self, log: WritableLog, header: Header, prefix: bytes = b"") -> None:
        self._log = log
        self._header = header
        self._prefix = prefix
        self._start = max(1, log.length)
        self._new: list[_NewBlock] = []
        self._over = False
        self._root: WritableNode | None = None
        if log.length > 1:
            self._root = self._load(ChildRef(log.length - 1, 0))

    def __enter__(self) -> BeeBatch:
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is None:
            self.flush()

    def put(self, key: bytes, value: bytes | None) -> int:
        """Set a key. Returns the block that holds it."""
        key = self._prefix + key
        target = KeyRef(self._next_seq, key)
        path: list[WritableNode] = []
        node = self._root or WritableNode([], [])
        root = node
        while True:
            node.changed = True
            index, found = self._position(node, key)
            if found:
                node.keys[index] = target
                return self._add(root, key, value)
            if not node.children:
                break
            path.append(node)
            node = self._child(node, index)
        node.keys.insert(index, target)
        return self._add(self._split_upwards(root, node, path), key, value)

    def delete(self, key: bytes) -> bool:
        """Take a key away. False if there is none, and then nothing is written."""
        key = self._prefix + key
        path: list[WritableNode] = []
        node = self._root
        while node is not None:
            path.append(node)
            index, found = self._position(node, key)
            if found:
                self._take(node, index, path)
                self._add(rebalance(path, self._child), key, None)
                return True
            node = self._child(node, index) if node.children else None
        return False

    def get(self, key: bytes) -> BeeEntry | None:
        """The entry of a key, with the writes of this batch."""
        node = self._root
        while node is not None:
            index, found = self._position(node, self._prefix + key)
            if found:
                return self._entry(node.keys[index].seq, key)
            node = self._child(node, index) if node.children else None
        return None

    def flush(self) -> None:
        """Append all writes at once and end the batch."""
        self._over = True
        if not self._new:
            return
        if max(1, self._log.length) != self._start:
            raise LocalProtocolError("the core was written to while a batch was open")
        blocks = [self._header.encode()] if self._log.length == 0 else []
        for block in self._new:
            if block is not self._new[-1]:
                block.drop_superseded()
            blocks.append(block.encode())
        self._log.append(blocks)

    @property
    def _next_seq(self) -> int:
        return self._start + len(self._new)

    def _entry(self, seq: int, key: bytes) -> BeeEntry:
        value = self._new[seq - self._start].value if seq >= self._start else self._block(seq).value
        return BeeEntry(seq, key, value)

    def _add(self, root: WritableNode, key: bytes, value: bytes | None) -> int:
        if self._over:
            raise LocalProtocolError("the batch is over, begin another")
        seq = self._next_seq
        index: list[ChildRef] = []
        index_changes(root, seq, index)
        self._new.append(_NewBlock(seq, key, value, index))
        self._root = root
        return seq

    def _position(self, node: WritableNode, key: bytes) -> tuple[int, bool]:
        """Number of keys of the node below `key`, and whether the next one is `key`."""
        low, high = 0, len(node.keys)
        while low < high:
            middle = (low + high) >> 1
            found = self._key(node.keys[middle])
            if found == key:
                return middle, True
            if found < key:
                low = middle + 1
            else:
                high = middle
        return low, False

    def _split_upwards(
        self, root: WritableNode, node: WritableNode, path: list[WritableNode]
    ) -> WritableNode:
        """Split nodes that are too large, up to a new root. Returns the root."""
        while node.is_too_large:
            median, right = split(node)
            if not path:
                return WritableNode([median], [ChildRef(0, 0, node), ChildRef(0, 0, right)])
            parent = path.pop()
            index, _ = self._position(parent, self._key(median))
            parent.keys.insert(index, median)
            parent.children.insert(index + 1, ChildRef(0, 0, right))
            node = parent
        return root

    def _take(self, node: WritableNode, index: int, path: list[WritableNode]) -> None:
        """Remove a key; in the middle of the tree its neighbour in the fuller leaf takes its place."""
        if node.children:
            node.keys[index] = take_from_leaf(node, index, path, self._child)
        else:
            del node.keys[index]
        for changed in path:
            changed.changed = True

    def _key(self, ref: KeyRef) -> bytes:
        if ref.key is None:
            ref.key = self._block(ref.seq).key
        return ref.key

    def _child(self, node: WritableNode, index: int) -> WritableNode:
        ref = node.children[index]
        if ref.node is None:
            ref.node = self._load(ref)
        return ref.node

    def _load(self, ref: ChildRef) -> WritableNode:
        stored = self._block(ref.seq).node(ref.offset)
        return WritableNode(
            [KeyRef(seq) for seq in stored.keys],
            [ChildRef(child.seq, child.offset) for child in stored.children],
            changed=False,
        )

    def _block(self, seq: int) -> BeeBlock:
        data = self._log.peek(seq)
        if data is None:
            raise BlockNotAvailable(f"block {seq} is not here: a bee can only be written where it is stored")
        return BeeBlock.decode(seq, data)


class BeeWriter:
    """Writes a bee, or one of its sub-databases. The header is written before the first key."""

    def __init__(self, log: WritableLog, *, header: Header | None = None, prefix: bytes = b"") -> None:
        """Raises InvalidContent if the log has blocks and is no bee."""
        self._log = log
        self._header = header or Header()
        self._prefix = prefix
        if log.length:
            block0 = log.peek(0)
            if block0 is None or Header.decode(block0).protocol != PROTOCOL:
                raise InvalidContent("the core is no bee, it cannot be written as one")

    def sub(self, name: bytes | str, *, separator: bytes = SEPARATOR) -> BeeWriter:
        """Return a writer of the keys below `name`."""
        raw = name.encode() if isinstance(name, str) else name
        return BeeWriter(self._log, header=self._header, prefix=self._prefix + raw + separator)

    def put(self, key: bytes, value: bytes | None) -> int:
        """Set a key. Returns the block that holds it."""
        with self.batch() as batch:
            return batch.put(key, value)

    def delete(self, key: bytes) -> bool:
        """Take a key away. False if there is none, and then nothing is written."""
        with self.batch() as batch:
            return batch.delete(key)

    def batch(self) -> BeeBatch:
        """Open a batch. Only one may be open, without other writes meanwhile."""
        return BeeBatch(self._log, self._header, self._prefix)

    def write_header(self) -> None:
        """Make an empty log an empty bee."""
        if self._log.length == 0:
            self._log.append([self._header.encode()])
