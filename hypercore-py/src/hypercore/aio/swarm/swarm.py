"""Peers by topic: announces, looks up, dials, accepts, and keeps one connection per peer.

The rules are those of hyperswarm 4.17.2 (see `hypercore.swarm`); this is the part with sockets and tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from random import Random
from time import monotonic
from typing import Any

from ...crypto import KeyPair
from ...dht.address import Address, BootstrapNode
from ...dht.messages import NoisePayload, PeerRecord
from ...dht.node import NodeEvent
from ...errors import ConnectionClosed, HypercoreError, LocalProtocolError
from ...swarm import Arrival, PeerInfo, Slots, SwarmPolicy
from ...swarm.bans import Bans
from ...swarm.extra_dials import Use
from ...swarm.policy import MAX_PARALLEL, MAX_PEERS, SLOW_DIAL_SECONDS
from ...swarm.slots import MAX_CONNECTIONS
from ..dht.node import DhtNode
from ..dht.server import Server
from ..net.secret_connection import SecretConnection
from ..timer import DeadlineTimer
from .candidates import Candidates
from .peer_discovery import PeerDiscovery
from .peer_link import Crowded, Duplicate, PeerLink
from .topic_refresher import TopicRefresher

CLOSE_SECONDS = 2.5
"""Seconds in which a closing swarm removes its announcements and ends its connections."""
CHANGES_OF_ADDRESS = (NodeEvent.ADDRESS_CHANGED, NodeEvent.REACHABILITY_CHANGED)
"""Events after which our announcements are outdated."""


class Swarm:
    """`on_connection(connection)` is called with every connection, dialled or accepted.

    We dial up to `max_peers` (somewhat more for topics with useless peers, see
    `hypercore.swarm.extra_dials`), and accept up to `max_incoming` (see `hypercore.swarm.slots`).
    `firewall(public_key)` returns whether a peer is refused. `has_peers(topic)` returns whether peers of a
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
        self._on_connection = on_connection
        self._use_of = use_of or _messages
        self.connections: set[SecretConnection] = set()
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
            on_look=self._on_look,
            on_deadline=self._set_timer,
            has_peers=has_peers,
        )
        self._links: dict[bytes, PeerLink] = {}
        self.slots = Slots(self._messages_of, limit=max_incoming)
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
        self._no_connections = asyncio.Event()
        self._candidates = Candidates(self._loop, self._on_incoming)
        self.node.subscribe(self._on_node_event)
        self._started = True

    # --- facts --------------------------------------------------------------------------------------------

    @property
    def public_key(self) -> bytes:
        return self.node.key_pair.public_key

    @property
    def host(self) -> str:
        return self.node.host

    @property
    def port(self) -> int:
        return self.node.port

    @property
    def firewalled(self) -> bool:
        return self.node.firewalled

    @property
    def online(self) -> bool:
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
        if topic.servers and self._listening is None:
            self._listening = self.node.spawn(self._listen())
        self._refresh_more()

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
        link = self._links.get(public_key)
        if link is not None:
            self._destroy(link, ConnectionClosed("the peer was banned"))

    def report_misbehaviour(self, public_key: bytes) -> float:
        """The peer has violated the protocol: close its connection, and neither dial nor accept it for a
        while, longer each time. Returns that time in seconds.
        """
        seconds = self._bans.note(public_key, monotonic())
        link = self._links.get(public_key)
        if link is not None:
            self._destroy(link, ConnectionClosed("the peer has offended"))
        return seconds

    def _check_running(self) -> None:
        if not self._started:
            raise LocalProtocolError("the swarm was not started")
        if self._closing:
            raise ConnectionClosed("the swarm is closed")

    async def _listen(self) -> None:
        def firewall(public_key: bytes, payload: NoisePayload, address: Address) -> bool:
            return self._policy.refuses(public_key) or not self._has_slot(public_key, address.host)

        self._server = await self.node.listen(self.node.key_pair, self._on_incoming, firewall=firewall)
        self._refresh_more()

    def _refresh_more(self) -> None:
        self._topics.run()
        self._set_timer()

    def _on_look(self, topic: bytes, looking: bool) -> None:
        (self._policy.topics.add if looking else self._policy.topics.discard)(topic)

    def _on_peers(self, topic: bytes, records: list[PeerRecord]) -> None:
        now = monotonic()
        for record in records:
            self._policy.peer_found(record.public_key, record.relay_addresses, topic, now)
        self._dial_more()

    # --- which connections are accepted -------------------------------------------------------------------

    def _messages_of(self, public_key: bytes) -> int:
        link = self._links.get(public_key)
        connection = None if link is None else link.connection
        return 0 if connection is None else connection.messages_in + connection.messages_out

    def _use_of_peer(self, public_key: bytes) -> Use:
        link = self._links.get(public_key)
        return Use(0, 0) if link is None or link.connection is None else self._use_of(link.connection)

    def _has_slot(self, public_key: bytes, host: str) -> bool:
        """Whether a peer may connect. Called before the handshake is answered, so that a refusal is
        immediate."""
        if public_key in self._links or self.slots.admit(host, monotonic()).accept:
            return True
        self.slots.rejected += 1
        return False

    def _make_room(self, connection: SecretConnection, existing: PeerLink | None) -> bool:
        """Whether the connection has a slot, if needed one taken from another connection."""
        if existing is not None and not existing.client:
            return True  # it replaces a connection of the same peer
        verdict = self.slots.admit(_host_of(connection), monotonic())
        loser = None if verdict.evict is None else self._links.get(verdict.evict)
        self.slots.rejected += loser is not None or not verdict.accept
        if loser is not None:
            self._destroy(loser, Crowded("another peer needs the connection more"))
        return verdict.accept

    # --- connections --------------------------------------------------------------------------------------

    def _dial_more(self) -> None:
        while not self._closing and (peer := self._policy.next_dial()) is not None:
            self._begin_dial(peer)
        while not self._closing and (extra := self._policy.next_extra(monotonic())) is not None:
            self._begin_dial(extra.peer)
            idle = None if extra.evict is None else self._links.get(extra.evict)
            if idle is not None:
                self._destroy(idle, Crowded("another peer needs the connection more"))
        if self._policy.idle:
            self._notify_idle()
        self._set_timer()

    def _begin_dial(self, peer: PeerInfo) -> None:
        link = self._links[peer.public_key] = PeerLink(peer, client=True)
        link.task = self.node.spawn(self._dial(link))
        self._loop.call_later(SLOW_DIAL_SECONDS, self._check_dial, link)

    def _check_dial(self, link: PeerLink) -> None:
        """Dial others beside one that has no connection yet."""
        key = link.peer.public_key
        if self._links.get(key) is link and link.connection is None:
            self._policy.dial_is_slow(key)
            self._dial_more()

    def _notify_idle(self) -> None:
        waiters, self._idle_waiters = self._idle_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _dial(self, link: PeerLink) -> None:
        try:
            connection = await self.node.connect(link.peer.public_key, link.peer.relay_addresses)
        except (HypercoreError, OSError):
            self._ended(link)
            return
        link.task = None
        self._opened(link, connection)

    def _on_incoming(self, connection: SecretConnection) -> None:
        """A peer dialled us."""
        key = connection.remote_public_key
        if self._closing or connection.closed or self._policy.refuses(key):
            connection.destroy()
            return
        existing = self._links.get(key)
        used = existing is not None and (existing.used or existing.doubtful)
        arrival = self._policy.arrives(key, existing_used=used)
        if arrival is Arrival.REPLACE and not connection.authenticated:
            self._candidates.add(connection)
            return
        if arrival is Arrival.REFUSE:
            connection.destroy(Duplicate("we keep the connection that we have"))
            if existing is not None and existing.connection is not None:
                existing.connection.send_keep_alive()  # if it is dead, this shows it soon
            return
        peer = self._policy.incoming(key)
        if peer is None or not self._make_room(connection, existing):
            connection.destroy(Crowded("there are too many connections"))
            return
        if existing is not None:
            self._destroy(existing, Duplicate("the peer has made a new connection"))
        self.slots.opened(key, _host_of(connection), monotonic())
        link = self._links[key] = PeerLink(peer, client=False)
        self._candidates.watch(connection)
        self._opened(link, connection)

    def _opened(self, link: PeerLink, connection: SecretConnection) -> None:
        link.connection = connection
        self._policy.opened(link.peer, monotonic(), client=link.client)
        self.connections.add(connection)
        if connection.closed:
            self._ended(link)
            return
        connection.add_close_listener(lambda: self._ended(link))
        if self._on_connection is not None:
            self._on_connection(connection)
        self._dial_more()

    def _ended(self, link: PeerLink) -> None:
        """A connection closed, or an attempt failed."""
        if link.connection is not None:
            self.connections.discard(link.connection)
            if not self.connections:
                self._no_connections.set()
        key = link.peer.public_key
        if self._links.get(key) is link:
            del self._links[key]
            self.slots.closed(key)
            self._policy.ended(link.peer, monotonic(), client=link.client)
            self._dial_more()

    def _destroy(self, link: PeerLink, error: ConnectionClosed) -> None:
        if link.connection is not None:
            link.connection.destroy(error)
        elif link.task is not None:
            link.task.cancel()
        self._ended(link)

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
        self._candidates.close()
        for link in list(self._links.values()):
            if link.task is not None:
                link.task.cancel()
        if self._listening is not None:
            self._listening.cancel()
        for connection in list(self.connections):
            connection.close()
            if connection.on_message is None:
                connection.on_message = _ignore  # the peer's end comes after its unread messages
        unannounce_tasks: list[Coroutine[Any, Any, None]] = [
            self._topics.unannounce_all(),
            self._wait_no_connections(),
        ]
        if self._server is not None:
            unannounce_tasks.append(self._server.close(timeout=timeout))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await asyncio.gather(*unannounce_tasks)
        finally:  # also if the caller cancels `close`
            await self.node.close(timeout=0)

    async def _wait_no_connections(self) -> None:
        """Wait until the connections have ended."""
        while self.connections:
            self._no_connections.clear()
            await self._no_connections.wait()


def _host_of(connection: SecretConnection) -> str:
    address = connection.remote_address
    return "" if address is None else address[0]


def _messages(connection: SecretConnection) -> Use:
    return Use(connection.messages_in + connection.messages_out, connection.messages_in)


def _ignore(message: bytes) -> None:
    """Drop messages without a reader."""
