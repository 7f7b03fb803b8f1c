"""The connections of a swarm: which of those that are dialled or accepted stay, at most one for each peer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from ...errors import ConnectionClosed, HypercoreError
from ...swarm import Arrival, PeerInfo, Slots, SwarmPolicy
from ...swarm.policy import SLOW_DIAL_SECONDS
from ..dht.node import DhtNode
from ..net.secret_connection import SecretConnection
from .candidates import Candidates
from .peer_connection import Crowded, Duplicate, PeerConnection


@dataclass(slots=True)
class ConnectionCounts:
    """Connections since the start. "Client" ones were dialled by us, "server" ones by the peers."""

    client_attempted: int = 0
    client_opened: int = 0
    client_closed: int = 0
    server_opened: int = 0
    server_closed: int = 0


class ConnectionTable:
    """`on_connection` is called with every connection that stays. `on_change` is called when another peer may
    be dialled: a connection has opened or ended, or an attempt has failed or is slow.
    """

    def __init__(
        self,
        node: DhtNode,
        policy: SwarmPolicy,
        *,
        max_incoming: int,
        on_connection: Callable[[SecretConnection], object] | None,
        on_change: Callable[[], None],
    ) -> None:
        self.connections: set[SecretConnection] = set()
        self.slots = Slots(self._messages_of, limit=max_incoming)
        """Peers that dialled us."""
        self.counts = ConnectionCounts()
        self.candidates = Candidates(self.accept)
        self._node = node
        self._policy = policy
        self._on_connection = on_connection
        self._on_change = on_change
        self._by_key: dict[bytes, PeerConnection] = {}
        """By public key."""
        self._no_connections = asyncio.Event()
        self._closing = False

    def connection_of(self, public_key: bytes) -> SecretConnection | None:
        entry = self._by_key.get(public_key)
        return None if entry is None else entry.connection

    def _messages_of(self, public_key: bytes) -> int:
        connection = self.connection_of(public_key)
        return 0 if connection is None else connection.messages_in + connection.messages_out

    # --- dialling

    def dial(self, peer: PeerInfo) -> None:
        """Begin to connect to a peer."""
        entry = self._by_key[peer.public_key] = PeerConnection(peer, client=True)
        self.counts.client_attempted += 1
        entry.task = self._node.spawn(self._dial(entry))
        asyncio.get_running_loop().call_later(SLOW_DIAL_SECONDS, self._check_dial, entry)

    def _check_dial(self, entry: PeerConnection) -> None:
        """Dial others beside one that has no connection yet."""
        key = entry.peer.public_key
        if self._by_key.get(key) is entry and entry.connection is None:
            self._policy.dial_is_slow(key)
            self._on_change()

    async def _dial(self, entry: PeerConnection) -> None:
        try:
            connection = await self._node.connect(entry.peer.public_key, entry.peer.relay_addresses)
        except (HypercoreError, OSError):
            self._ended(entry)
            return
        entry.task = None
        self._opened(entry, connection)

    # --- accepting

    def has_slot(self, public_key: bytes, host: str) -> bool:
        """Whether a peer that dials us is accepted. Called before the handshake is answered, so that the peer
        learns it at once."""
        if public_key in self._by_key or self.slots.admit(host, monotonic()).accept:
            return True
        self.slots.rejected += 1
        return False

    def accept(self, connection: SecretConnection) -> None:
        """A peer dialled us. Keep the connection, or destroy it."""
        key = connection.remote_public_key
        if self._closing or connection.closed or self._policy.refuses(key):
            connection.destroy()
            return
        existing = self._by_key.get(key)
        used = existing is not None and (existing.used or existing.doubtful)
        arrival = self._policy.arrives(key, existing_used=used)
        if arrival is Arrival.REPLACE and not connection.authenticated:
            self.candidates.add(connection)
            return
        if arrival is Arrival.REFUSE:
            connection.destroy(Duplicate("we keep the connection that we have"))
            if existing is not None and existing.connection is not None:
                existing.connection.send_keep_alive()  # if it is dead after all, we shall know soon
            return
        peer = self._policy.incoming(key)
        if peer is None or not self._make_room(connection, existing):
            connection.destroy(Crowded("there are too many connections"))
            return
        if existing is not None:
            self._destroy(existing, Duplicate("the peer has made a new connection"))
        self.slots.opened(key, _host_of(connection), monotonic())
        entry = self._by_key[key] = PeerConnection(peer, client=False)
        self.candidates.watch(connection)
        self._opened(entry, connection)

    def _make_room(self, connection: SecretConnection, existing: PeerConnection | None) -> bool:
        """Whether there is a slot for it, another one's perhaps."""
        if existing is not None and not existing.client:
            return True  # its own
        verdict = self.slots.admit(_host_of(connection), monotonic())
        loser = None if verdict.evict is None else self._by_key.get(verdict.evict)
        self.slots.rejected += loser is not None or not verdict.accept
        if loser is not None:
            self._destroy(loser, Crowded("another peer needs the connection more"))
        return verdict.accept

    # --- one connection

    def _opened(self, entry: PeerConnection, connection: SecretConnection) -> None:
        entry.connection = connection
        self._policy.opened(entry.peer, monotonic(), client=entry.client)
        self.connections.add(connection)
        if entry.client:
            self.counts.client_opened += 1
        else:
            self.counts.server_opened += 1
        if connection.closed:
            self._ended(entry)
            return
        connection.add_close_listener(lambda: self._ended(entry))
        if self._on_connection is not None:
            self._on_connection(connection)
        self._on_change()

    def _ended(self, entry: PeerConnection) -> None:
        """A connection closed, or an attempt failed."""
        if entry.connection is not None:
            if entry.connection in self.connections:
                self._count_closed(entry)
            self.connections.discard(entry.connection)
            if not self.connections:
                self._no_connections.set()
        key = entry.peer.public_key
        if self._by_key.get(key) is entry:
            del self._by_key[key]
            self.slots.closed(key)
            self._policy.ended(entry.peer, monotonic(), client=entry.client)
            self._on_change()

    def _count_closed(self, entry: PeerConnection) -> None:
        if entry.client:
            self.counts.client_closed += 1
        else:
            self.counts.server_closed += 1

    def end(self, public_key: bytes, error: ConnectionClosed) -> None:
        """End the connection or attempt to connect to a peer, if there is one."""
        entry = self._by_key.get(public_key)
        if entry is not None:
            self._destroy(entry, error)

    def _destroy(self, entry: PeerConnection, error: ConnectionClosed) -> None:
        if entry.connection is not None:
            entry.connection.destroy(error)
        elif entry.task is not None:
            entry.task.cancel()
        self._ended(entry)

    # --- the end

    def close(self) -> None:
        """End all connections gracefully, and accept no more."""
        self._closing = True
        self.candidates.close()
        for entry in list(self._by_key.values()):
            if entry.task is not None:
                entry.task.cancel()
        for connection in list(self.connections):
            connection.close()
            if connection.on_message is None:
                connection.on_message = _ignore  # the peer's end comes after unread messages

    async def wait_closed(self) -> None:
        """Wait until the connections have ended."""
        while self.connections:
            self._no_connections.clear()
            await self._no_connections.wait()


def _host_of(connection: SecretConnection) -> str:
    address = connection.remote_address
    return "" if address is None else address[0]


def _ignore(message: bytes) -> None:
    """Drop messages without a reader."""
