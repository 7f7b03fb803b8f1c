"""A node of the DHT on a real socket, which UDX streams share."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from random import Random, SystemRandom
from time import monotonic, time
from typing import Any, TypeVar

from ..crypto import KeyPair, blake2b_256
from ..dht import operations
from ..dht.address import Address, BootstrapNode, parse_bootstrap
from ..dht.constants import BOOTSTRAP_NODES, DEFAULT_PORT
from ..dht.messages import MutableRecord, NoisePayload, PeerRecord
from ..dht.node import DhtCore, NodeEvent
from ..dht.query import Query
from ..dht.router import Router
from ..dht.rpc import Call, Reply
from ..dht.store import Store
from ..dht.surroundings import Surroundings, look_around
from ..errors import ConnectionClosed, LocalProtocolError
from .alarm import Alarm
from .connection import SecretConnection
from .dialer import Dial, PunchListener
from .interfaces import local_addresses
from .server import Server
from .udp import Endpoint, UdpSocket

PORTS = range(DEFAULT_PORT, DEFAULT_PORT + 5)
"""Ports tried, in order, unless one is asked for; then any (hyperdht index.js)."""
RESOLVE_AGAIN_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Waits between attempts to look up the bootstrap nodes' names."""
INTERFACES_SECONDS = 60.0
"""How long the list of our own addresses is taken to be right."""
MAX_REMEMBERED_RELAYS = 512
"""Peers whose relays are remembered for the next time we connect to them (hyperdht index.js)."""

T = TypeVar("T")


class DhtNode:
    """`bootstrap` lists `host:port` or `ip@host:port`; the public network's nodes unless given.

    `port` None tries the usual ports, 0 takes any. `ephemeral=False` makes a node that others may rely on: it
    stores and relays for them, and needs `public_host`, where everybody can reach it.
    """

    def __init__(
        self,
        *,
        bootstrap: Sequence[str | tuple[str, int]] | None = None,
        key_pair: KeyPair | None = None,
        host: str = "0.0.0.0",
        port: int | None = 0,
        rng: Random | None = None,
        ephemeral: bool = True,
        firewalled: bool | None = None,
        public_host: str | None = None,
    ) -> None:
        self.rng = rng or SystemRandom()
        self.key_pair = key_pair or KeyPair.from_seed(self.rng.randbytes(32))
        self.ephemeral = ephemeral
        self.on_event: list[Callable[[NodeEvent], None]] = []
        """Called with what the node tells about itself."""
        self._bootstrap = [parse_bootstrap(n) for n in (BOOTSTRAP_NODES if bootstrap is None else bootstrap)]
        self._fallback = [n for n in self._bootstrap if n.address is not None and n.host != n.address]
        """Nodes whose names are looked up if the addresses given beside them do not answer."""
        if not ephemeral and public_host is None and host == "0.0.0.0":
            raise LocalProtocolError("a persistent node needs to know its public_host")
        self._bind_to = (host, port)
        self._public_host = public_host or host
        self._firewalled = ephemeral if firewalled is None else firewalled
        self._servers: list[Server] = []
        self._punches: set[PunchListener] = set()
        self._relays: dict[bytes, tuple[Address, ...]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._interfaces: tuple[Address, ...] = ()
        self._interfaces_at: float | None = None
        self._closed = False

    # --- life ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> DhtNode:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Bind the socket and begin to look for other nodes. Raises OSError if the port is taken."""
        self._loop = asyncio.get_running_loop()
        self.endpoint = Endpoint(loop=self._loop, rng=self.rng)
        self.socket = self._bind()
        self.endpoint.on_message = self._on_message
        now = monotonic()
        _, port = self.socket.local_address
        address = None if self.ephemeral else Address(self._public_host, port)
        self.core = DhtCore(rng=self.rng, now=now, address=address, firewalled=self._firewalled)
        self.router = Router(now)
        self.core.handlers.update(self.router.handlers())
        if self.core.own_id is not None:
            store = Store(own_id=self.core.own_id, router=self.router, rng=self.rng, now=now, wall_clock=time)
            self.core.handlers.update(store.handlers())
        self._alarm = Alarm(self._loop, self._on_timer)
        self._bootstrapped = asyncio.Event()
        self.core.bootstrap = [Address(n.address, n.port) for n in self._bootstrap if n.address is not None]
        if self.core.bootstrap or not self._bootstrap:
            self.core.start_bootstrap(now)
        unresolved = [node for node in self._bootstrap if node.address is None]
        if unresolved:
            self.spawn(self._resolve(unresolved))
        self.flush()

    async def bootstrapped(self, *, within: float | None = None) -> bool:
        """Wait until other nodes have answered. False if none did within so many seconds."""
        try:
            await asyncio.wait_for(self._bootstrapped.wait(), within)
        except TimeoutError:
            return False
        return True

    async def close(self, *, within: float = 2.0) -> None:
        """Unannounce our servers, in so many seconds at most, and close the socket and all streams."""
        if self._closed:
            return
        await asyncio.gather(*(server.close(within=within) for server in list(self._servers)))
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._alarm.cancel()
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
        """Run something that ends with the node."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _resolve(self, nodes: list[BootstrapNode]) -> None:
        """Look up names until each has an address."""
        for wait in (*RESOLVE_AGAIN_SECONDS, None):
            failed = []
            for node in nodes:
                try:
                    found = await self._loop.getaddrinfo(
                        node.host, node.port, family=socket.AF_INET, type=socket.SOCK_DGRAM
                    )
                except OSError:
                    failed.append(node)
                    continue
                addresses = [Address(*entry[4][:2]) for entry in found]
                self.core.bootstrap += [a for a in addresses if a not in self.core.bootstrap]
            nodes = failed
            if self.core.bootstrap and not self.core.bootstrapped:
                self.core.start_bootstrap(monotonic())
                self.flush()
            if not nodes:
                return
            await asyncio.sleep(RESOLVE_AGAIN_SECONDS[-1] if wait is None else wait)

    # --- facts --------------------------------------------------------------------------------------------

    @property
    def firewalled(self) -> bool:
        """Whether strangers are taken to be unable to reach us without a relay."""
        return self._firewalled

    @property
    def host(self) -> str:
        """Our address as others see it; until they have told us, the one that we are bound to."""
        return self.core.nat.host or self.socket.local_address[0]

    @property
    def port(self) -> int:
        """Our port as others see it; the local one if they see different ones."""
        return self.core.nat.port or self.socket.local_address[1]

    @property
    def local_port(self) -> int:
        return self.socket.local_address[1]

    @property
    def online(self) -> bool:
        return self.core.online

    def surroundings(self) -> Surroundings:
        """How peers can reach us now."""
        host, port = self.socket.local_address
        now = monotonic()
        if self._interfaces_at is None or now - self._interfaces_at > INTERFACES_SECONDS:
            self._interfaces = local_addresses(host, port)
            self._interfaces_at = now
        return look_around(self.core.nat, firewalled=self.firewalled, local_port=port, local=self._interfaces)

    # --- asking -------------------------------------------------------------------------------------------

    async def request(
        self,
        to: Address,
        command: int,
        *,
        internal: bool = False,
        target: bytes | None = None,
        value: bytes | None = None,
        token: bytes | None = None,
        retries: int = 3,
        force: bool = False,
    ) -> Reply | None:
        """Ask one node. None if it does not answer."""
        done: asyncio.Future[Reply | None] = self._loop.create_future()
        call = self.core.call(
            to,
            command,
            monotonic(),
            internal=internal,
            target=target,
            value=value,
            token=token,
            retries=retries,
            force=force,
            on_reply=lambda reply: _resolve_future(done, reply),
            on_timeout=lambda: _resolve_future(done, None),
        )
        return await self._await_call(call, done)

    async def ping(self, to: Address, *, retries: int = 3) -> Reply | None:
        """Whether a node answers, and what it says our address is."""
        done: asyncio.Future[Reply | None] = self._loop.create_future()
        call = self.core.ping(
            to,
            monotonic(),
            retries=retries,
            on_reply=lambda reply: _resolve_future(done, reply),
            on_timeout=lambda: _resolve_future(done, None),
        )
        return await self._await_call(call, done)

    async def _await_call(self, call: Call | None, done: asyncio.Future[Reply | None]) -> Reply | None:
        self.flush()
        if call is None:
            return None
        try:
            return await done
        finally:
            self.core.cancel(call)

    async def run(self, make: Callable[[Callable[[Query], None]], Query]) -> Query:
        """Run the query that `make(on_done)` makes to its end."""
        done: asyncio.Future[Query] = self._loop.create_future()
        query = make(lambda query: _resolve_future(done, query))
        self.start_query(query)
        try:
            return await done
        finally:
            query.cancel()

    def start_query(self, query: Query) -> None:
        """Let a query run that reports by its callbacks."""
        self.core.start(query, monotonic())
        self.flush()

    async def find_peer(self, public_key: bytes) -> list[Address]:
        """The nodes that relay to a peer, by its key."""
        found: list[Address] = []
        target = blake2b_256(public_key)
        await self.run(
            lambda done: operations.find_peer(
                self.core, target, on_record=lambda reply, _: found.append(reply.source), on_done=done
            )
        )
        return found

    async def lookup(self, topic: bytes) -> list[PeerRecord]:
        """Who announced `topic`: each peer once, with the relays it was last seen with."""
        found: dict[bytes, PeerRecord] = {}

        def on_peers(reply: Reply, peers: tuple[PeerRecord, ...]) -> None:
            found.update((peer.public_key, peer) for peer in peers)

        await self.run(lambda done: operations.lookup(self.core, topic, on_peers=on_peers, on_done=done))
        return list(found.values())

    async def announce(self, topic: bytes, key_pair: KeyPair, relay_addresses: Iterable[Address] = ()) -> int:
        """Announce a peer under `topic`. Returns how many nodes took it."""
        relays = tuple(relay_addresses)
        query = await self.run(
            lambda done: operations.announce(self.core, topic, key_pair, lambda: relays, on_done=done)
        )
        return query.committed

    async def unannounce(self, topic: bytes, key_pair: KeyPair) -> None:
        """Take back an announcement."""
        await self.run(lambda done: operations.unannounce(self.core, topic, key_pair, on_done=done))

    async def mutable_get(self, public_key: bytes, *, seq: int = 0) -> MutableRecord | None:
        """The latest value that `public_key` signed, of number `seq` at least."""
        found: list[MutableRecord] = []
        await self.run(
            lambda done: operations.mutable_get(
                self.core, public_key, seq=seq, on_record=lambda _, record: found.append(record), on_done=done
            )
        )
        return max(found, key=lambda record: record.seq, default=None)

    async def mutable_put(self, key_pair: KeyPair, value: bytes, *, seq: int) -> int:
        """Store a value under our key. Returns how many nodes took it."""
        query = await self.run(
            lambda done: operations.mutable_put(self.core, key_pair, value, seq=seq, on_done=done)
        )
        return query.committed

    async def immutable_get(self, target: bytes) -> bytes | None:
        """The value whose hash is `target`."""
        found: list[bytes] = []
        await self.run(
            lambda done: operations.immutable_get(
                self.core, target, on_value=lambda _, value: found.append(value), on_done=done
            )
        )
        return found[0] if found else None

    async def immutable_put(self, value: bytes) -> int:
        """Store a value under its hash. Returns how many nodes took it."""
        query = await self.run(lambda done: operations.immutable_put(self.core, value, on_done=done))
        return query.committed

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
        if self._closed:
            raise ConnectionClosed("the node is closed")
        relays = tuple(relay_addresses) or self._relays.get(public_key, ())
        dial = Dial(self, public_key, key_pair or self.key_pair, relays, lan=lan, fast_open=fast_open)
        return await dial.run()

    async def listen(
        self,
        key_pair: KeyPair,
        on_connection: Callable[[SecretConnection], None],
        *,
        firewall: Callable[[bytes, NoisePayload, Address], bool] | None = None,
    ) -> Server:
        """Take connections under `key_pair`. Returns when the server can be found, or the search for nodes
        to announce it to has failed (it goes on).
        """
        server = Server(self, key_pair, on_connection, firewall=firewall)
        self._servers.append(server)
        self.router.servers[server.target] = server
        await server.listen()
        return server

    def forget_server(self, server: Server) -> None:
        """The server was closed."""
        if server in self._servers:
            self._servers.remove(server)
            del self.router.servers[server.target]

    def remember_relays(self, public_key: bytes, relays: tuple[Address, ...]) -> None:
        """Nodes over which a peer was reached, for the next time."""
        self._relays.pop(public_key, None)
        self._relays[public_key] = relays
        if len(self._relays) > MAX_REMEMBERED_RELAYS:
            del self._relays[next(iter(self._relays))]

    def add_punch(self, listener: PunchListener) -> None:
        """From now on `listener` hears of single bytes that come in."""
        self._punches.add(listener)

    def remove_punch(self, listener: PunchListener) -> None:
        self._punches.discard(listener)

    # --- the pump -----------------------------------------------------------------------------------------

    def _on_message(self, data: bytes, source: tuple[str, int], socket: UdpSocket) -> None:
        if len(data) > 1:
            self.core.receive_datagram(data, Address(*source), monotonic())
            self.flush()
        elif data:
            self._on_punch(Address(*source))

    def _on_punch(self, source: Address) -> None:
        """A single byte: of a server that we punch towards, or else of a client that punches towards us."""
        for listener in list(self._punches):
            # Exactly: another port of the same host may be another socket of the same peer, dialling us
            if source in listener.addresses:
                listener.punched(source)
                return
        for server in self._servers:
            if server.punch_received(source):
                return

    def _on_timer(self, now: float) -> None:
        self.core.handle_timer(now)
        self.flush()

    def flush(self) -> None:
        """Send what the core wants sent, tell what it tells, set its timer."""
        if self._closed:
            return
        outbox, send = self.core.outbox, self.socket.send
        while outbox:
            data, address = outbox.popleft()
            send(data, address)
        while (event := self.core.next_event()) is not None:
            self._on_node_event(event)
        self._alarm.set(self.core.next_deadline())

    def _on_node_event(self, event: NodeEvent) -> None:
        if event is NodeEvent.BOOTSTRAPPED:
            self._bootstrapped.set()
        elif event is NodeEvent.BOOTSTRAP_FAILED and self._fallback and not self.core.bootstrapped:
            names, self._fallback = self._fallback, []
            self.spawn(self._resolve(names))
        for callback in list(self.on_event):
            callback(event)


def _resolve_future(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
