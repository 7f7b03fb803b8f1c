"""Requests in flight."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import TypeVar

from ..codec import Writer, encode_uint
from ..wire.data import Data
from ..wire.request import Request
from .interfaces import PeerView
from .suspicion import HEAD

T = TypeVar("T")


class Purpose(Enum):
    BLOCK = "a block"
    UPGRADE = "a longer head, and perhaps its last block"
    MANIFEST = "the manifest"
    PROOF = "the head of a higher fork"
    REFINE = "a tree node of a higher fork"


class InflightRequest:
    """One request in flight. Small: there are up to 512 for each peer."""

    __slots__ = ("fork", "id", "index", "node", "peer", "purpose", "reserved", "sent_at")

    def __init__(
        self,
        request_id: int,
        peer: PeerView,
        fork: int,
        purpose: Purpose,
        sent_at: float,
        index: int | None = None,
        node: int | None = None,
    ) -> None:
        self.id = request_id
        self.peer = peer
        self.fork = fork
        self.purpose = purpose
        self.sent_at = sent_at
        self.index = index
        """The requested block, if any."""
        self.node = node
        """The requested tree node, if any."""
        self.reserved = 0
        """Bytes charged to the rate limit for it."""

    def __repr__(self) -> str:
        what = self.purpose.value if self.index is None else f"block {self.index}"
        return f"<request {self.id} for {what}>"

    @property
    def subject(self) -> int:
        """The block, or HEAD for a request about the head (with or without a block)."""
        return self.index if self.purpose is Purpose.BLOCK and self.index is not None else HEAD

    def answered_by(self, data: Data) -> bool:
        """Whether `data` has only requested parts, of the right fork."""
        if data.fork != self.fork or data.seek is not None:
            return False
        block, node = data.block, data.hash
        if block is None:
            if self.purpose is Purpose.BLOCK:
                return False
        elif block.index != self.index:
            return False
        if node is not None and node.index != self.node:
            return False
        return data.upgrade is None or self.purpose in (Purpose.UPGRADE, Purpose.PROOF)


class BlockRequest:
    """The most frequent request, encoded without making a `Request`. Same bytes."""

    __slots__ = ("fork", "id", "index", "nodes", "priority")

    type_id = Request.type_id

    def __init__(self, request_id: int, fork: int, index: int, nodes: int, priority: int) -> None:
        self.id = request_id
        self.fork = fork
        self.index = index
        self.nodes = nodes
        self.priority = priority

    def encode(self, w: Writer) -> None:
        head = b"\x21" if self.priority else b"\x01"
        w.data += b"".join(
            (
                head,
                encode_uint(self.id),
                encode_uint(self.fork),
                encode_uint(self.index),
                encode_uint(self.nodes),
            )
        )
        if self.priority:
            w.uint(self.priority)


class InflightTracker:
    """All requests of one core, over all peers. Ids are never used twice, so that late answers match
    nothing."""

    def __init__(self) -> None:
        self._sent: dict[int, InflightRequest] = {}  # in the order of sending
        self._holders: dict[int, list[InflightRequest]] = {}  # block -> requests for it
        self._next_id = 1

    def __len__(self) -> int:
        return len(self._sent)

    def __iter__(self) -> Iterator[InflightRequest]:
        """Oldest first. The table must not change meanwhile."""
        return iter(self._sent.values())

    def next_id(self) -> int:
        number = self._next_id
        self._next_id = number + 1
        return number

    def add(self, sent: InflightRequest) -> None:
        self._sent[sent.id] = sent
        sent.peer.down.inflight[sent.id] = sent.index
        if sent.index is not None:
            sent.peer.muxer.requested += 1
            holders = self._holders.get(sent.index)
            if holders is None:
                self._holders[sent.index] = [sent]
            else:
                holders.append(sent)

    def get(self, request_id: int, peer: PeerView) -> InflightRequest | None:
        """The request that an answer of `peer` belongs to."""
        sent = self._sent.get(request_id)
        return sent if sent is not None and sent.peer is peer else None

    def of(self, peer: PeerView) -> list[InflightRequest]:
        """Requests to one peer, oldest first."""
        return [self._sent[number] for number in peer.down.inflight]

    def remove(self, sent: InflightRequest) -> bool:
        """Remove a request. True if its block is requested from no other peer."""
        _delete(self._sent, sent.id)
        _delete(sent.peer.down.inflight, sent.id)
        if sent.index is None:
            return False
        sent.peer.muxer.requested -= 1
        holders = self._holders[sent.index]
        if len(holders) > 1:
            holders.remove(sent)
            return False
        _delete(self._holders, sent.index)
        return True

    def requests_for(self, index: int) -> tuple[InflightRequest, ...]:
        """Requests for a block."""
        return tuple(self._holders.get(index, ()))

    def oldest(self) -> InflightRequest | None:
        return next(iter(self._sent.values()), None)


def _delete(table: dict[int, T], key: int) -> None:
    """Delete an entry, and after the last one free the table's memory: most cores have no requests."""
    del table[key]
    if not table:
        table.clear()
