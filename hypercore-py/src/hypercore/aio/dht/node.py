"""A node of the DHT on a real socket, which UDX streams share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from random import Random, SystemRandom
from time import monotonic, time
from typing import Any, TypeVar

from ...crypto import KeyPair
from ...dht.address import Address, BootstrapNode, parse_bootstrap
from ...dht.constants import BOOTSTRAP_NODES, DEFAULT_PORT, Firewall
from ...dht.handshake_router import Router
from ...dht.messages import NoisePayload
from ...dht.network_profile import NetworkProfile, profile_network
from ...dht.node import DhtCore, NodeEvent
from ...dht.punching import RandomPunches
from ...dht.record_store import Store
from ...dht.rpc import Reply, ReplyHandler
from ...dht.work_budget import HANDSHAKES, WorkBudget
from ...errors import ConnectionClosed, LocalProtocolError, PeerNotFound, PeerUnreachable
from ..net.interfaces import NetworkWatch
from ..net.secret_connection import SecretConnection
from ..net.udp_socket import Endpoint, UdpSocket
from ..net.udx_transport import StreamTransport
from ..subscription import Subscription
from ..timer import DeadlineTimer
from .bootstrap_names import BootstrapNames
from .client import DhtClient
from .connect import ConnectAttempt
from .context import NodeContext, PunchListener
from .persistence import run_persistence
from .reachability_watch import ReachabilityWatch
from .server import Server

PORTS = range(DEFAULT_PORT, DEFAULT_PORT + 5)
"""Ports tried, in order, unless one is asked for; then any (hyperdht index.js)."""
INTERFACES_SECONDS = 5.0
"""Seconds between two checks of our own addresses."""
MAX_KNOWN_NODES = 100
"""DHT nodes kept for the next start."""
MAX_REMEMBERED_RELAYS = 512
"""Peers whose relays are kept for the next connection to them (hyperdht index.js)."""

T = TypeVar("T")


class DhtNode:
    """`bootstrap` lists BootstrapNodes, `host:port` or `ip@host:port`; default: the public network's.

    `port` None tries the usual ports, 0 takes any. `firewalled`: other hosts cannot reach us; by default it
    is measured. `ephemeral=False` makes a node that stores and relays for others, and needs `public_host`,
    where every host can reach it. `relay_through` is the public key of a blind relay, for peers that cannot
    be reached otherwise. `nodes` are former `known_nodes`: with them the DHT is joined even if no bootstrap
    node answers.

    After `start`, `client` makes requests: look up, announce, get and put.
    """

    def __init__(
        self,
        *,
        bootstrap: Sequence[str | tuple[str, int] | BootstrapNode] | None = None,
        key_pair: KeyPair | None = None,
        host: str = "0.0.0.0",
        port: int | None = 0,
        rng: Random | None = None,
        ephemeral: bool = True,
        firewalled: bool | None = None,
        public_host: str | None = None,
        relay_through: bytes | None = None,
        nodes: Iterable[Address] = (),
    ) -> None:
        self.rng = rng or SystemRandom()
        self.key_pair = key_pair or KeyPair.from_seed(self.rng.randbytes(32))
        self.ephemeral = ephemeral
        self._subscribers: dict[Subscription[NodeEvent], None] = {}
        if not ephemeral and public_host is None and host == "0.0.0.0":
            raise LocalProtocolError("a persistent node needs to know its public_host")
        self._bind_to = (host, port)
        self._public_host = public_host or host
        self._bootstrap = BootstrapNames(
            [parse_bootstrap(n) for n in (BOOTSTRAP_NODES if bootstrap is None else bootstrap)],
            on_lookup=self._on_bootstrap_addresses,
            on_unresolved=lambda: self._notify(NodeEvent.NAME_UNRESOLVED),
        )
        self._reachability = ReachabilityWatch(
            firewalled=ephemeral if firewalled is None else firewalled,
            measured=ephemeral and firewalled is None,
            on_change=lambda: self._notify(NodeEvent.REACHABILITY_CHANGED),
        )
        self._servers: list[Server] = []
        self.relay_through = relay_through
        self._nodes = list(islice(nodes, MAX_KNOWN_NODES))
        self._store: Store | None = None
        self._punch_listeners: set[PunchListener] = set()
        self._relays: dict[bytes, tuple[Address, ...]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._started = False
        self._closed = False

    # --- life ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> DhtNode:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Bind the socket and begin to look for other nodes. Raises OSError if the port is taken."""
        self.loop = asyncio.get_running_loop()
        self.endpoint = Endpoint(loop=self.loop, rng=self.rng, on_message=self._on_message)
        self.socket = self._bind()
        self._network = NetworkWatch(*self.socket.local_address)
        self._started = True
        now = monotonic()
        _, port = self.socket.local_address
        address = None if self.ephemeral else Address(self._public_host, port)
        self.core = DhtCore(rng=self.rng, now=now, address=address)
        self.router = Router(now)
        self.core.handlers.update(self.router.handlers())
        if self.core.own_id is not None:
            self._keep_store(self.core.own_id, now)
        self._timer = DeadlineTimer(self.loop, self._on_timer)
        self.client = DhtClient(self.core, self.loop, self.flush)
        self.context = NodeContext(
            endpoint=self.endpoint,
            socket=self.socket,
            rng=self.rng,
            core=self.core,
            client=self.client,
            spawn=self.spawn,
            create_stream=lambda accept: StreamTransport(self.endpoint, accept=accept),
            profile=self.profile,
            connect_directly=self.connect_directly,
            on_network_changed=self.on_network_changed,
            random_punches=RandomPunches(),
            handshakes=WorkBudget(HANDSHAKES, now),
            punch_listeners=self._punch_listeners,
        )
        self._bootstrapped = asyncio.Event()
        self.core.bootstrap = list(self._bootstrap.addresses)
        names = self._bootstrap.without_address
        if self.core.bootstrap or not names:
            self.core.start_bootstrap(now)
        for known in self._nodes:  # a node that answers enters the routing table
            self.core.ping(known, now, ReplyHandler(self._on_known_node), retries=1)
        if names:
            self.spawn(self._bootstrap.resolve(names))
        self.flush()
        self.spawn(self._watch_network())
        if self._reachability.measured:
            self.spawn(self._watch_reachability())
            self.spawn(run_persistence(self._public_address, self.become_persistent, self.become_ephemeral))

    def _on_known_node(self, reply: Reply) -> None:
        if not self.core.bootstrapped:
            self.core.start_bootstrap(monotonic())
            self.flush()

    def known_nodes(self) -> list[Address]:
        """DHT nodes that answered lately, the latest first, for the next start."""
        return [node.address for node in islice(self.core.table.latest(), MAX_KNOWN_NODES)]

    def become_persistent(self, address: Address) -> None:
        """Store and relay for other nodes, which reach us at `address`."""
        if self.ephemeral:
            self.ephemeral = False
            self.core.set_persistent_address(address, monotonic())
            assert self.core.own_id is not None
            self._keep_store(self.core.own_id, monotonic())
            self.flush()

    def become_ephemeral(self) -> None:
        """Stop storing and relaying. Stored records are dropped; their owners announce again."""
        if not self.ephemeral and self._reachability.measured:
            self.ephemeral = True
            self.core.set_persistent_address(None, monotonic())
            for command in () if self._store is None else self._store.handlers():
                del self.core.handlers[command]
            self._store = None
            self.flush()

    def _keep_store(self, own_id: bytes, now: float) -> None:
        self._store = Store(own_id=own_id, router=self.router, rng=self.rng, now=now, wall_clock=time)
        self.core.handlers.update(self._store.handlers())

    async def bootstrapped(self, *, timeout: float | None = None) -> bool:
        """Wait until other nodes have answered. False if none did within `timeout` seconds."""
        try:
            await asyncio.wait_for(self._bootstrapped.wait(), timeout)
        except TimeoutError:
            return False
        return True

    async def close(self, *, timeout: float = 2.0) -> None:
        """Unannounce our servers within `timeout` seconds, and close the socket and all streams."""
        if self._closed or not self._started:
            return
        await asyncio.gather(*(server.close(timeout=timeout) for server in list(self._servers)))
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._timer.cancel()
        self.endpoint.close()

    def _bind(self) -> UdpSocket:
        host, port = self._bind_to
        if port is not None:
            return self.endpoint.bind(host, port)
        for candidate in PORTS:
            with suppress(OSError):
                return self.endpoint.bind(host, candidate)
        return self.endpoint.bind(host, 0)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task that is cancelled when the node closes."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _on_bootstrap_addresses(self, addresses: list[Address]) -> None:
        self.core.bootstrap += [a for a in dict.fromkeys(addresses) if a not in self.core.bootstrap]
        if self.core.bootstrap and not self.core.bootstrapped:
            self.core.start_bootstrap(monotonic())
            self.flush()

    def subscribe(self, callback: Callable[[NodeEvent], None]) -> Callable[[], None]:
        """Call `callback` with every event of the node. Call the result to unsubscribe."""
        return Subscription(callback, self._subscribers)

    # --- facts --------------------------------------------------------------------------------------------

    @property
    def firewalled(self) -> bool:
        """Whether other hosts cannot reach us without a relay, as far as known."""
        return self._reachability.firewalled

    @property
    def unresolved(self) -> dict[str, str]:
        """Names of bootstrap nodes that do not resolve, with the reason."""
        return self._bootstrap.unresolved

    @property
    def host(self) -> str:
        """Our address as others see it; before they report it, the bound one."""
        return self.core.nat.host or self.socket.local_address[0]

    @property
    def port(self) -> int:
        """Our port as others see it; the local one if they see different ones."""
        return self.core.nat.port or self.socket.local_address[1]

    @property
    def local_port(self) -> int:
        """The UDP port that the socket is bound to."""
        return self.socket.local_address[1]

    @property
    def online(self) -> bool:
        """Whether DHT nodes answer."""
        return self.core.online

    def profile(self) -> NetworkProfile:
        """Return how peers can reach us now."""
        return profile_network(
            self.core.nat, firewalled=self.firewalled, local_port=self.local_port, local=self._network.local
        )

    def _public_address(self) -> Address | None:
        return self.profile().public if self.online else None

    async def _watch_network(self) -> None:
        while True:
            towards = next((node.address for node in self.core.table), None)
            if towards is not None and self._network.poll(towards):
                self._reachability.on_network_changed()
                self.on_network_changed()
                self.core.refresh(monotonic())
                self.flush()
                for server in self._servers:
                    server.renew()
            await asyncio.sleep(INTERFACES_SECONDS)

    async def _watch_reachability(self) -> None:
        await self._bootstrapped.wait()
        await self._reachability.run(self.context)

    async def test_reachability(self) -> bool | None:
        """Ask unknown nodes to send us something. Returns whether they reach us; None: too few to decide."""
        return await self._reachability.measure(self.context)

    def on_network_changed(self, votes: Iterable[tuple[Address, Address]] = ()) -> None:
        """The network changed. `votes`: nodes that see us elsewhere, and where."""
        self.core.on_network_changed(votes)
        self.flush()

    # --- connections --------------------------------------------------------------------------------------

    async def connect(
        self,
        public_key: bytes,
        relay_addresses: Iterable[Address] = (),
        *,
        key_pair: KeyPair | None = None,
        lan: bool = True,
        fast_open: bool = True,
    ) -> SecretConnection:
        """Connect to a peer by its key. `relay_addresses` are nodes that may relay to it.

        Raises PeerNotFound if no node knows it, PeerUnreachable if it cannot be reached.
        """
        relays, relay = tuple(relay_addresses), self.relay_through
        if relay is None or not self.needs_relay:
            try:
                return await self.connect_directly(
                    public_key, relays, key_pair=key_pair, lan=lan, fast_open=fast_open
                )
            except PeerNotFound:
                raise
            except PeerUnreachable:
                if relay is None:
                    raise
        return await self.connect_directly(public_key, relays, key_pair=key_pair, lan=lan, relay=relay)

    async def connect_directly(
        self,
        public_key: bytes,
        relay_addresses: Iterable[Address] = (),
        *,
        key_pair: KeyPair | None = None,
        lan: bool = True,
        fast_open: bool = True,
        relay: bytes | None = None,
    ) -> SecretConnection:
        """One attempt, without our own blind relay unless `relay` names one. See `connect`."""
        if self._closed:
            raise ConnectionClosed("the node is closed")
        relays = tuple(relay_addresses) or self._relays.get(public_key, ())
        attempt = ConnectAttempt(
            self.context,
            public_key,
            key_pair or self.key_pair,
            relays,
            lan=lan,
            fast_open=fast_open,
            relay=relay,
        )
        connection = await attempt.run()
        self._remember_relays(public_key, attempt.relays)
        return connection

    @property
    def needs_relay(self) -> bool:
        """Whether our NAT is of the kind that others find hard to punch through."""
        return self.profile().firewall == Firewall.RANDOM

    async def listen(
        self,
        key_pair: KeyPair,
        on_connection: Callable[[SecretConnection], None],
        *,
        firewall: Callable[[bytes, NoisePayload, Address], bool] | None = None,
    ) -> Server:
        """Accept connections under `key_pair`. Returns when the server can be found, or when the first search
        for nodes to announce it to has failed (it continues).
        """
        server = Server(
            self.context,
            key_pair,
            on_connection,
            firewall=firewall,
            relay_through=lambda: self.relay_through if self.needs_relay else None,
            on_close=self._remove_server,
        )
        self._servers.append(server)
        self.router.servers[server.target] = server
        await server.listen()
        return server

    def _remove_server(self, server: Server) -> None:
        if server in self._servers:
            self._servers.remove(server)
            del self.router.servers[server.target]

    def _remember_relays(self, public_key: bytes, relays: tuple[Address, ...]) -> None:
        """Keep the nodes through which a peer was reached for the next connection to it."""
        self._relays.pop(public_key, None)
        self._relays[public_key] = relays
        if len(self._relays) > MAX_REMEMBERED_RELAYS:
            del self._relays[next(iter(self._relays))]

    # --- the pump -----------------------------------------------------------------------------------------

    def _on_message(self, data: bytes, source: tuple[str, int], socket: UdpSocket) -> None:
        if len(data) > 1:
            address = Address(*source)
            self._reachability.on_message(data, address)
            self.core.receive((data, address), monotonic())
            self.flush()
        elif data:
            self._on_punch(Address(*source), socket)

    def _on_punch(self, source: Address, socket: UdpSocket) -> None:
        """A single byte came from a server that we punch to, or from a client that punches to us."""
        for listener in list(self._punch_listeners):
            if listener.punched(source, socket):
                return
        for server in self._servers:
            if server.punch_received(source):
                return

    def _on_timer(self, now: float) -> None:
        self.core.handle_timer(now)
        self.flush()

    def flush(self) -> None:
        """Send the core's output, emit its events, set its timer."""
        if self._closed:
            return
        send, now = self.socket.send, monotonic()
        for data, address in self.core.take_output(now):
            send(data, address)
            self._reachability.on_sent(address.host, now)
        while (event := self.core.next_event()) is not None:
            self._on_node_event(event)
        self._timer.set(self.core.next_deadline())

    def _on_node_event(self, event: NodeEvent) -> None:
        if event is NodeEvent.BOOTSTRAPPED:
            self._bootstrapped.set()
        elif event is NodeEvent.BOOTSTRAP_FAILED and not self.core.bootstrapped:
            if names := self._bootstrap.take_fallback():
                self.spawn(self._bootstrap.resolve(names))
        elif event is NodeEvent.ADDRESS_CHANGED:
            self._reachability.on_address_changed()
        self._notify(event)

    def _notify(self, event: NodeEvent) -> None:
        for subscription in tuple(self._subscribers):
            subscription.callback(event)
