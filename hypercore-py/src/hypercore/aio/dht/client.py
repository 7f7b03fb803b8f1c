"""Requests to the DHT, as coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TypeVar

from ...crypto import KeyPair, blake2b_256
from ...dht import queries
from ...dht.address import Address
from ...dht.messages import MutableRecord, PeerRecord
from ...dht.node import DhtCore
from ...dht.query import Query
from ...dht.rpc import DEFAULT_RETRIES, Call, OutgoingRequest, Reply, ReplyHandler

T = TypeVar("T")


class DhtClient:
    """Requests and queries of one node: `DhtNode.client`. `flush()` sends what the core has to send."""

    def __init__(self, core: DhtCore, loop: asyncio.AbstractEventLoop, flush: Callable[[], None]) -> None:
        self._core = core
        self._loop = loop
        self._flush = flush

    async def request(self, outgoing: OutgoingRequest) -> Reply | None:
        """Ask one node. Returns None if it does not answer."""
        return await self._call(lambda handler: self._core.call(outgoing, monotonic(), handler))

    async def ping(self, to: Address, *, retries: int = DEFAULT_RETRIES) -> Reply | None:
        """Ping a node. Its reply has our address as it sees it; None if it does not answer."""
        return await self._call(lambda handler: self._core.ping(to, monotonic(), handler, retries=retries))

    async def _call(self, start: Callable[[ReplyHandler], Call | None]) -> Reply | None:
        done: asyncio.Future[Reply | None] = self._loop.create_future()
        handler = ReplyHandler(
            lambda reply: _resolve_future(done, reply), lambda: _resolve_future(done, None)
        )
        call = start(handler)
        self._flush()
        if call is None:
            return None
        try:
            return await done
        finally:
            self._core.cancel(call)

    async def run_query(self, make: Callable[[Callable[[Query], None]], Query]) -> Query:
        """Run the query that `make(on_done)` makes to its end."""
        done: asyncio.Future[Query] = self._loop.create_future()
        query = make(lambda query: _resolve_future(done, query))
        self.start_query(query)
        try:
            return await done
        finally:
            query.cancel()

    def start_query(self, query: Query) -> None:
        """Start a query that reports by its callbacks."""
        self._core.start(query, monotonic())
        self._flush()

    async def find_peer(self, public_key: bytes) -> list[Address]:
        """The nodes that relay to a peer, by its key."""
        found: list[Address] = []
        target = blake2b_256(public_key)
        await self.run_query(
            lambda done: queries.find_peer(
                self._core, target, on_record=lambda reply, _: found.append(reply.source), on_done=done
            )
        )
        return found

    async def lookup(self, topic: bytes) -> list[PeerRecord]:
        """Peers that announced `topic`, each once, with its latest relays."""
        found: dict[bytes, PeerRecord] = {}

        def on_peers(reply: Reply, peers: tuple[PeerRecord, ...]) -> None:
            found.update((peer.public_key, peer) for peer in peers)

        await self.run_query(lambda done: queries.lookup(self._core, topic, on_peers=on_peers, on_done=done))
        return list(found.values())

    async def announce(self, topic: bytes, key_pair: KeyPair, relay_addresses: Iterable[Address] = ()) -> int:
        """Announce a peer under `topic`. Returns the number of nodes that stored it."""
        relays = tuple(relay_addresses)
        query = await self.run_query(
            lambda done: queries.announce(self._core, topic, key_pair, lambda: relays, on_done=done)
        )
        return query.committed

    async def unannounce(self, topic: bytes, key_pair: KeyPair) -> None:
        """Remove an announcement."""
        await self.run_query(lambda done: queries.unannounce(self._core, topic, key_pair, on_done=done))

    async def mutable_get(self, public_key: bytes, *, seq: int = 0) -> MutableRecord | None:
        """The latest value that `public_key` signed, with a sequence number of at least `seq`."""
        found: list[MutableRecord] = []
        await self.run_query(
            lambda done: queries.mutable_get(
                self._core,
                public_key,
                seq=seq,
                on_record=lambda _, record: found.append(record),
                on_done=done,
            )
        )
        return max(found, key=lambda record: record.seq, default=None)

    async def mutable_put(self, key_pair: KeyPair, value: bytes, *, seq: int) -> int:
        """Store a value under our key. Returns the number of nodes that stored it."""
        query = await self.run_query(
            lambda done: queries.mutable_put(self._core, key_pair, value, seq=seq, on_done=done)
        )
        return query.committed

    async def immutable_get(self, target: bytes) -> bytes | None:
        """The value whose hash is `target`."""
        found: list[bytes] = []
        await self.run_query(
            lambda done: queries.immutable_get(
                self._core, target, on_value=lambda _, value: found.append(value), on_done=done
            )
        )
        return found[0] if found else None

    async def immutable_put(self, value: bytes) -> int:
        """Store a value under its hash. Returns the number of nodes that stored it."""
        query = await self.run_query(lambda done: queries.immutable_put(self._core, value, on_done=done))
        return query.committed


def _resolve_future(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
