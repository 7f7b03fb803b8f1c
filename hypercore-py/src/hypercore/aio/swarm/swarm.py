"""Peers by topic: announces, looks up, dials, accepts, and keeps one connection per peer.

The rules are those of hyperswarm 4.17.2 (see `hypercore.swarm`); this is the part with sockets and tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence, Set
from contextlib import suppress
from random import Random
from time import monotonic
from typing import Any

from ...crypto import KeyPair
from ...dht.address import Address, BootstrapNode
from ...dht.messages import NoisePayload, PeerRecord
from ...dht.node import NodeEvent
from ...errors import ConnectionClosed, LocalProtocolError
from ...swarm import PeerInfo, SwarmPolicy
from ...swarm.bans import Bans
from ...swarm.extra_dials import Use
from ...swarm.policy import MAX_PARALLEL, MAX_PEERS
from ...swarm.slots import MAX_CONNECTIONS
from ..dht.node import DhtNode
from ..dht.server import Server
from ..net.secret_connection import SecretConnection
from ..timer import DeadlineTimer
from .connection_table import ConnectionCounts, ConnectionTable
from .peer_connection import Crowded
from .peer_discovery import PeerDiscovery
from .topic_refresher import TopicRefresher

CLOSE_SECONDS = 2.5
"""Seconds in which a closing swarm removes its announcements and ends its connections."""
CHANGES_OF_ADDRESS = (NodeEvent.ADDRESS_CHANGED, NodeEvent.REACHABILITY_CHANGED)
"""Events after which our announcements are outdated."""


class Swarm:
    """`on_connection(connection)` is called with every connection, dialled or accepted.

    We dial up to `max_peers` (somewhat more for topics with useless peers, see
    `hypercore.swarm.extra_dials`), and accept up to `max_incoming` (see `hypercore.swarm.slots`).
    `firewall(public_key)` returns whether a peer is refused, `refuses_host(host)` whether one that dials from
    that address is. `has_peers(topic)` returns whether peers of a
    topic are connected, so that its lookup is not urgent. `lacks_peers(topic)` is called when `max_peers` are
    dialled; it returns whether the connected peers of a topic give it nothing, so that others are dialled
    (default: whether it has none). `use_of(connection)` returns how much a connection was used so far, by
    default in messages: idle ones that we dialled may be closed. `bootstrap`, `host`, `port`, `firewalled`,
    `relay_through` and `nodes` are those of `DhtNode`.
    """

    def __init__(
        self,
        *,
        key_pair: KeyPair | None = None,
        bootstrap: Sequence[str | tuple[str, int] | BootstrapNode] | None = None,
        host: str = "0.0.0.0",
        port: int | None = 0,
        max_peers: int = MAX_PEERS,
        max_parallel: int = MAX_PARALLEL,
        max_incoming: int = MAX_CONNECTIONS,
        rng: Random | None = None,
        firewall: Callable[[bytes], bool] | None = None,
        refuses_host: Callable[[str], bool] | None = None,
        firewalled: bool | None = None,
        relay_through: bytes | None = None,
        nodes: Iterable[Address] = (),
        on_connection: Callable[[SecretConnection], object] | None = None,
        has_peers: Callable[[bytes], bool] | None = None,
        lacks_peers: Callable[[bytes], bool] | None = None,
        use_of: Callable[[SecretConnection], Use] | None = None,
    ) -> None:
        self.node = DhtNode(
            bootstrap=bootstrap,
            key_pair=key_pair,
            host=host,
            port=port,
            rng=rng,
            firewalled=firewalled,
            relay_through=relay_through,
            nodes=nodes,
        )
        self._use_of = use_of or _messages
        self._refuses_host = refuses_host or (lambda host: False)
        self._policy = SwarmPolicy(
            self.node.key_pair.public_key,
            rng=self.node.rng,
            max_peers=max_peers,
            max_parallel=max_parallel,
            firewall=firewall,
            is_banned=lambda public_key: self._bans.is_banned(public_key, monotonic()),
            lacks_peers=lacks_peers,
            use_of=self._use_of_peer,
        )
        self._bans = Bans()
        self._topics = TopicRefresher(
            self.node,
            self.node.key_pair,
            on_peers=self._on_peers,
            relay_addresses=lambda: () if self._server is None else self._server.relay_addresses,
            may_announce=lambda: self._listening is None or self._server is not None,
            on_lookup=self._on_lookup,
            on_deadline=self._set_timer,
            has_peers=has_peers,
        )
        self._table = ConnectionTable(
            self.node,
            self._policy,
            max_incoming=max_incoming,
            on_connection=on_connection,
            on_change=self._dial_more,
        )
        self.slots = self._table.slots
        """Slots of peers that dialled us. Its `limit` may be changed at any time."""
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._server: Server | None = None
        self._listening: asyncio.Task[None] | None = None
        self._started = False
        self._closing = False

    async def __aenter__(self) -> Swarm:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Bind the socket and begin to look for other nodes. Raises OSError if the port is taken."""
        await self.node.start()
        self._loop = asyncio.get_running_loop()
        self._timer = DeadlineTimer(self._loop, self._on_timer)
        self.node.subscribe(self._on_node_event)
        self._started = True

    # --- facts --------------------------------------------------------------------------------------------

    @property
    def connections(self) -> Set[SecretConnection]:
        """Connections to peers."""
        return self._table.connections

    @property
    def counts(self) -> ConnectionCounts:
        """Connections since the start."""
        return self._table.counts

    @property
    def public_key(self) -> bytes:
        """Our public key, 32 bytes."""
        return self.node.key_pair.public_key

    @property
    def host(self) -> str:
        """Our address as other nodes see it."""
        return self.node.host

    @property
    def port(self) -> int:
        """Our port as other nodes see it."""
        return self.node.port

    @property
    def firewalled(self) -> bool:
        """Whether unknown hosts cannot reach us."""
        return self.node.firewalled

    @property
    def online(self) -> bool:
        """Whether DHT nodes answer."""
        return self.node.online

    @property
    def peers(self) -> dict[bytes, PeerInfo]:
        """Known peers by public key."""
        return self._policy.peers

    @property
    def topics(self) -> int:
        """Number of topics joined."""
        return len(self._topics.schedule)

    # --- topics -------------------------------------------------------------------------------------------

    def join(
        self, topic: bytes, *, server: bool = True, client: bool = True, opportunistic_lookup: bool = False
    ) -> PeerDiscovery:
        """Announce us under a 32-byte topic (`server`), and look up peers under it (`client`).

        `opportunistic_lookup`: look up occasionally while only a server, for peers that do not look for us.
        """
        self._check_running()
        discovery = PeerDiscovery(self, topic)
        if opportunistic_lookup:
            self._topics.schedule.get_or_add(topic).opportunistic = True
        self.set_mode(discovery, server=server, client=client, refresh=True)
        return discovery

    def set_mode(
        self, discovery: PeerDiscovery, *, server: bool, client: bool, refresh: bool = False
    ) -> None:
        """See `PeerDiscovery.set_mode`. `refresh`: even if nothing changes."""
        if discovery.closed or self._closing:
            return
        if not refresh and (server, client) == (discovery.server, discovery.client):
            return
        topic = self._topics.change(
            discovery.topic,
            servers=server - discovery.server,
            clients=client - discovery.client,
            refresh=refresh,
        )
        discovery.server, discovery.client = server, client
        if topic.seeking:
            self._policy.topics.add(topic.key)
        else:
            self._policy.topics.discard(topic.key)
        if topic.servers:
            self.start_listening()
        self._refresh_more()

    def start_listening(self) -> None:
        """Accept peers that dial our public key, without any topic. Joining one as a server does the same."""
        self._check_running()
        if self._listening is None:
            self._listening = self.node.spawn(self._listen())

    async def listening(self) -> None:
        """Return when peers that dial our public key can find us, or the search for nodes to announce it to
        has failed (it continues). Begins to listen."""
        self.start_listening()
        assert self._listening is not None
        await asyncio.shield(self._listening)

    async def refreshed(self, topic: bytes) -> bool:
        """See `PeerDiscovery.flushed`."""
        return await self._topics.refreshed(topic)

    async def flush(self) -> None:
        """Wait until all topics are announced and looked up, and all peers found so far were dialled."""
        await asyncio.gather(*(self.refreshed(key) for key in list(self._topics.schedule.topics)))
        if not self._policy.idle and not self._closing:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._idle_waiters.append(waiter)
            await waiter

    def join_peer(self, public_key: bytes, relay_addresses: Iterable[Address] = ()) -> None:
        """Keep a connection to this peer, whatever its topics."""
        self._check_running()
        self._policy.join_peer(public_key, relay_addresses)
        self._dial_more()

    def leave_peer(self, public_key: bytes) -> None:
        """Undo `join_peer`."""
        self._policy.leave_peer(public_key)

    def ban(self, public_key: bytes) -> None:
        """Close the connection to this peer, and never dial or accept it again."""
        self._policy.ban(public_key)
        self._table.end(public_key, ConnectionClosed("the peer was banned"))

    def report_misbehaviour(self, public_key: bytes) -> float:
        """The peer has violated the protocol: close its connection, and neither dial nor accept it for a
        while, longer each time. Returns that time in seconds.
        """
        seconds = self._bans.record(public_key, monotonic())
        self._table.end(public_key, ConnectionClosed("the peer misbehaved"))
        return seconds

    def _check_running(self) -> None:
        if not self._started:
            raise LocalProtocolError("the swarm was not started")
        if self._closing:
            raise ConnectionClosed("the swarm is closed")

    async def _listen(self) -> None:
        def firewall(public_key: bytes, payload: NoisePayload, address: Address) -> bool:
            return (
                self._policy.refuses(public_key)
                or self._refuses_host(address.host)
                or not self._table.has_slot(public_key, address.host)
            )

        self._server = await self.node.listen(self.node.key_pair, self._table.accept, firewall=firewall)
        self._refresh_more()

    def _refresh_more(self) -> None:
        self._topics.run()
        self._set_timer()

    def _on_lookup(self, topic: bytes, looking: bool) -> None:
        (self._policy.topics.add if looking else self._policy.topics.discard)(topic)

    def _on_peers(self, topic: bytes, records: list[PeerRecord]) -> None:
        now = monotonic()
        for record in records:
            self._policy.peer_found(record.public_key, record.relay_addresses, topic, now)
        self._dial_more()

    # --- which connections are accepted -------------------------------------------------------------------

    def _use_of_peer(self, public_key: bytes) -> Use:
        connection = self._table.connection_of(public_key)
        return Use(0, 0) if connection is None else self._use_of(connection)

    # --- connections --------------------------------------------------------------------------------------

    def _dial_more(self) -> None:
        while not self._closing and (peer := self._policy.next_dial()) is not None:
            self._table.dial(peer)
        while not self._closing and (extra := self._policy.next_extra(monotonic())) is not None:
            self._table.dial(extra.peer)
            if extra.evict is not None:
                self._table.end(extra.evict, Crowded("another peer needs the connection more"))
        if self._policy.idle:
            self._notify_idle()
        self._set_timer()

    def _notify_idle(self) -> None:
        waiters, self._idle_waiters = self._idle_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # --- the clock and the node ---------------------------------------------------------------------------

    def _set_timer(self) -> None:
        self._timer.set(self._policy.next_deadline())
        self._timer.set(self._topics.schedule.next_deadline())

    def _on_timer(self, now: float) -> None:
        if not self._closing:
            self._policy.handle_timer(now)
            self._dial_more()
            self._refresh_more()

    def _on_node_event(self, event: NodeEvent) -> None:
        if event is NodeEvent.OFFLINE:
            self._topics.schedule.pause()
        elif event is NodeEvent.ONLINE:
            for connection in self.connections:
                connection.send_keep_alive()
            self.node.spawn(self._back_online())
        elif self._server is not None and event in CHANGES_OF_ADDRESS:
            self._server.renew()

    async def _back_online(self) -> None:
        """Renew the server's relays first: topics are announced with them."""
        if self._server is not None:
            await self._server.renewed()
        if self.online:
            self._topics.schedule.resume()
            self._refresh_more()

    # --- the end ------------------------------------------------------------------------------------------

    async def close(self, *, timeout: float = CLOSE_SECONDS) -> None:
        """Leave the swarm: remove announcements and end connections, in at most `timeout` seconds."""
        was_closing, self._closing = self._closing, True
        if was_closing or not self._started:
            return
        self._policy.close()
        self._topics.close()
        self._notify_idle()
        self._timer.cancel()
        self._table.close()
        if self._listening is not None:
            self._listening.cancel()
        unannounce_tasks: list[Coroutine[Any, Any, None]] = [
            self._topics.unannounce_all(),
            self._table.wait_closed(),
        ]
        if self._server is not None:
            unannounce_tasks.append(self._server.close(timeout=timeout))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await asyncio.gather(*unannounce_tasks)
        finally:  # also if the caller cancels `close`
            await self.node.close(timeout=0)


def _messages(connection: SecretConnection) -> Use:
    return Use(connection.messages_in + connection.messages_out, connection.messages_in)
