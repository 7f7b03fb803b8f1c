"""The routing table: known persistent nodes, in buckets by the number of leading bits that their ids share
with ours.

Source: kademlia-routing-table index.js (1.0.6) and time-ordered-set, as dht-rpc uses them. One difference:
`closest` returns the true nearest nodes by XOR, nearest first; the official one walks the buckets in
another order.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from .address import CACHED_ADDRESSES, Address, node_id

ID_BITS = 256

BUCKET_SIZE = 20
"""Nodes kept per bucket, and nodes in an answer (k in Kademlia)."""

MAX_NODES = ID_BITS * BUCKET_SIZE
"""Largest number of nodes in a table; in practice a few hundred, as deep buckets stay empty."""


@lru_cache(maxsize=CACHED_ADDRESSES)
def node_number(address: tuple[str, int]) -> int:
    """The node id of `address` as the integer that distances are computed with."""
    return int.from_bytes(node_id(address), "big")


class TableNode:
    """A node of the table. Times are seconds of the caller's clock."""

    __slots__ = ("added", "address", "number", "pinged", "seen")

    def __init__(self, address: Address, now: float) -> None:
        self.address = address
        self.number = node_number(address)
        self.added = now
        self.pinged = now
        """Time of our last request to it."""
        self.seen = now
        """Time of its last message."""


class RoutingTable:
    """At most `BUCKET_SIZE` nodes per bucket. The caller handles full buckets."""

    __slots__ = ("_buckets", "_nodes", "number")

    def __init__(self, own_id: bytes) -> None:
        self.number = int.from_bytes(own_id, "big")
        self._buckets: dict[int, dict[int, TableNode]] = {}
        self._nodes: dict[int, TableNode] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[TableNode]:
        """All nodes, the longest silent first."""
        return iter(self._nodes.values())

    def latest(self) -> Iterator[TableNode]:
        """All nodes, the most recently seen first."""
        return reversed(self._nodes.values())

    @property
    def id(self) -> bytes:
        return self.number.to_bytes(32, "big")

    def get(self, number: int) -> TableNode | None:
        return self._nodes.get(number)

    def add(self, node: TableNode) -> bool:
        """False if its bucket is full. Our own id is never added."""
        if node.number == self.number or node.number in self._nodes:
            return node.number != self.number
        bucket = self._buckets.setdefault(self._index(node.number), {})
        if len(bucket) >= BUCKET_SIZE:
            return False
        bucket[node.number] = node
        self._nodes[node.number] = node
        return True

    def touch(self, node: TableNode) -> None:
        """Make a node the most recently seen."""
        if self._nodes.pop(node.number, None) is not None:
            self._nodes[node.number] = node

    def remove(self, number: int) -> None:
        if self._nodes.pop(number, None) is None:
            return
        index = self._index(number)
        bucket = self._buckets[index]
        del bucket[number]
        if not bucket:
            del self._buckets[index]

    def bucket_of(self, number: int) -> list[TableNode]:
        """The nodes that share the bucket of `number`."""
        return list(self._buckets.get(self._index(number), {}).values())

    def closest(self, target: int, count: int = BUCKET_SIZE) -> list[TableNode]:
        """The `count` nodes nearest to `target` (an id as an integer), nearest first."""
        # All nodes of the target's own bucket are nearer than those of deeper ones, and these are nearer than
        # those of each shallower bucket in turn: the whole table need not be sorted
        own = self._index(target)
        found = list(self._buckets.get(own, {}).values())
        if len(found) < count:
            for index, bucket in self._buckets.items():
                if index > own:
                    found += bucket.values()
        for index in range(min(own, ID_BITS) - 1, -1, -1):
            if len(found) >= count:
                break
            found += self._buckets.get(index, {}).values()
        found.sort(key=lambda node: node.number ^ target)
        return found[:count]

    def _index(self, number: int) -> int:
        """Number of leading bits in common with our id."""
        return ID_BITS - (number ^ self.number).bit_length()
