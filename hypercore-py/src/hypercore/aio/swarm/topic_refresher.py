"""Announces and looks up topics, each in its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from ...crypto import KeyPair
from ...dht import queries
from ...dht.address import Address, pack_addresses, unpack_addresses
from ...dht.messages import PeerRecord
from ...dht.query import Query
from ...dht.rpc import Reply
from ...swarm import Action, Topic, TopicSchedule
from ..dht.node import DhtNode

MAX_PEERS_PER_REFRESH = 512
"""Records used from the replies of one refresh. Twenty honest nodes send at most 21 each."""
PARALLEL_FAREWELLS = 16
"""Topics unannounced at a time while the swarm closes."""


class TopicRefresher:
    """Runs the schedule over a node.

    `on_peers(topic, records)` is called with peers that were found. `relay_addresses()` returns the nodes
    that relay to us, `may_announce()` whether they are known. `on_lookup(topic, looking)` is called when a
    refresh begins, with whether it looks up peers; `on_deadline()` when the schedule's next deadline may have
    moved. Call `run` at that deadline.
    """

    def __init__(
        self,
        node: DhtNode,
        key_pair: KeyPair,
        *,
        on_peers: Callable[[bytes, list[PeerRecord]], None],
        relay_addresses: Callable[[], tuple[Address, ...]],
        may_announce: Callable[[], bool],
        on_lookup: Callable[[bytes, bool], None],
        on_deadline: Callable[[], None],
        has_peers: Callable[[bytes], bool] | None,
    ) -> None:
        self.schedule = TopicSchedule(node.rng, has_peers)
        self._node = node
        self._key_pair = key_pair
        self._on_peers = on_peers
        self._relay_addresses = relay_addresses
        self._may_announce = may_announce
        self._on_lookup = on_lookup
        self._on_deadline = on_deadline
        self._queries: set[Query] = set()
        self._waiters: dict[bytes, list[asyncio.Future[bool]]] = {}
        self._closed = False

    def change(self, key: bytes, *, servers: int, clients: int, refresh: bool = False) -> Topic:
        """Add to (or subtract from) the joins of a topic that announce it and that look up peers.

        Starts a refresh if that changes what is announced or looked up, or if `refresh` is true.
        """
        topic = self.schedule.get_or_add(key)
        topic.servers += servers
        topic.clients += clients
        if refresh or servers or clients > 0 or not topic.servers:
            self.schedule.changed(topic)
        elif not topic.clients:
            self.schedule.relaxed(topic, monotonic())
        return topic

    async def refreshed(self, key: bytes) -> bool:
        """Wait for the pending or running refresh of a topic. False if no node answered it."""
        topic = self.schedule.topics.get(key)
        if topic is None or self._closed or not (topic.running or topic.waiting):
            return True
        waiter: asyncio.Future[bool] = self._node.endpoint.loop.create_future()
        self._waiters.setdefault(key, []).append(waiter)
        return await waiter

    def run(self) -> None:
        """Start as many refreshes as may run now."""
        if self._closed or not self._may_announce():
            return
        while (topic := self.schedule.take(monotonic())) is not None:
            self._refresh(topic)
        # Topics removed without a refresh: end the waits for them
        for key in [key for key in self._waiters if key not in self.schedule.topics]:
            self._finish_waiters(key, ok=True)

    def _refresh(self, topic: Topic) -> None:
        found = 0

        def on_peers(reply: Reply, peers: tuple[PeerRecord, ...]) -> None:
            nonlocal found
            taken = list(peers[: MAX_PEERS_PER_REFRESH - found])
            found += len(taken)
            if taken and topic.looking:
                self._on_peers(topic.key, taken)

        def on_done(query: Query) -> None:
            self._queries.discard(query)
            self._finished(topic, action, query)

        action = topic.action
        self._on_lookup(topic.key, topic.looking)
        listener = on_peers if topic.looking else None
        core, seeds = self._node.core, unpack_addresses(topic.closest)
        if action is Action.ANNOUNCE:
            clear, topic.first_announce, topic.announced = topic.first_announce, False, True
            query = queries.announce(
                core,
                topic.key,
                self._key_pair,
                self._relay_addresses,
                clear=clear,
                seeds=seeds,
                on_peers=listener,
                on_done=on_done,
            )
        elif action is Action.UNANNOUNCE:
            query = queries.unannounce(
                core, topic.key, self._key_pair, seeds=seeds, on_peers=listener, on_done=on_done
            )
        else:
            query = queries.lookup(core, topic.key, seeds=seeds, on_peers=listener, on_done=on_done)
        self._queries.add(query)
        self._node.client.start_query(query)

    def _finished(self, topic: Topic, action: Action | None, query: Query) -> None:
        ok = not query.failed
        if query.closest:
            topic.closest = pack_addresses(reply.source for reply in query.closest)
        if ok and action is Action.UNANNOUNCE:
            topic.announced = False
            topic.first_announce = True
        self.schedule.finished(topic, monotonic(), ok=ok)
        if not topic.waiting:
            self._finish_waiters(topic.key, ok=ok)
        self.run()
        self._on_deadline()

    def _finish_waiters(self, key: bytes, *, ok: bool) -> None:
        for waiter in self._waiters.pop(key, ()):
            if not waiter.done():
                waiter.set_result(ok)

    def close(self) -> None:
        """Start no more refreshes and cancel those that run."""
        self._closed = True
        for query in self._queries:
            query.cancel()
        self._queries.clear()
        for key in list(self._waiters):
            self._finish_waiters(key, ok=False)

    async def unannounce_all(self) -> None:
        """Remove all announcements, with one request to each node that stores them."""
        topics = iter([topic for topic in self.schedule.topics.values() if topic.announced])

        async def one_after_the_other() -> None:
            for topic in topics:
                await self._unannounce(topic)

        async with asyncio.TaskGroup() as unannounce_tasks:
            for _ in range(PARALLEL_FAREWELLS):
                unannounce_tasks.create_task(one_after_the_other())

    async def _unannounce(self, topic: Topic) -> None:
        seeds = unpack_addresses(topic.closest)
        await self._node.client.run_query(
            lambda done: queries.unannounce(
                self._node.core,
                topic.key,
                self._key_pair,
                seeds=seeds,
                only_seeds=True,
                force=True,
                on_done=done,
            )
        )
