"""Accepts connections under a key pair, found through the DHT."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from ...crypto import KeyPair
from ...dht.address import Address, is_private
from ...dht.incoming_request import Inbound
from ...dht.messages import NoisePayload
from ...dht.punch_probes import PUNCH
from ...dht.relays import AnnouncedRelays
from ...dht.server_core import Answered, Connected, Expired, Greet, RelayRendezvous, SendPunch, ServerCore
from ...dht.sessions import Session
from ...errors import PeerUnreachable
from ..net.secret_connection import SecretConnection
from ..net.udp_socket import UdpSocket
from ..timer import DeadlineTimer
from .arrival import Arrival
from .blind_relay import Rendezvous, close_relay_with
from .context import NodeContext
from .punch_sockets import PunchSocketPool
from .server_announcer import ServerAnnouncer


class Server:
    """Accepts connections under one key, made by `DhtNode.listen`. `on_connection(connection)` is called with
    each client.

    `relay_through()` returns the public key of the blind relay that clients should use, None if they need
    none now. `on_close(server)` is called when the server accepts no more connections.
    """

    def __init__(
        self,
        context: NodeContext,
        key_pair: KeyPair,
        on_connection: Callable[[SecretConnection], None],
        *,
        firewall: Callable[[bytes, NoisePayload, Address], bool] | None = None,
        relay_through: Callable[[], bytes | None],
        on_close: Callable[[Server], None],
    ) -> None:
        self.key_pair = key_pair
        self._on_connection = on_connection
        self.closed = False
        self._context = context
        self._on_close = on_close
        self._relays = AnnouncedRelays()
        self._core = ServerCore(
            key_pair,
            relays=self._relays,
            profile=context.profile,
            open_stream=self._open_stream,
            random_bytes=context.rng.randbytes,
            firewall=firewall,
            random_punches=context.random_punches,
            relay_through=relay_through,
            handshakes=context.handshakes,
        )
        self._announcer = ServerAnnouncer(context, key_pair, self._core.target, self._relays)
        self._arrivals: dict[Session, Arrival] = {}
        self._holes: dict[Session, PunchSocketPool] = {}
        self._timer = DeadlineTimer(context.endpoint.loop, self._on_timer)

    @property
    def public_key(self) -> bytes:
        """The public key under which clients find the server, 32 bytes."""
        return self.key_pair.public_key

    @property
    def target(self) -> bytes:
        """Our target on the DHT: the hash of the public key."""
        return self._core.target

    @property
    def relay_addresses(self) -> tuple[Address, ...]:
        """Nodes that relay to us, for our records."""
        public = self._context.profile().public
        relays = self._relays.addresses
        return relays if public is None else (public, *relays)[:3]

    async def listen(self) -> None:
        """Announce ourselves, and keep the announcement until `close`."""
        await self._announcer.start()

    def renew(self) -> None:
        """Announce again soon: the network changed."""
        self._announcer.renew()

    async def renewed(self) -> None:
        """Announce again and wait for the result."""
        await self._announcer.renewed()

    async def close(self, *, timeout: float = 2.0) -> None:
        """Accept no more connections, and remove the announcement within `timeout` seconds.

        Open connections are left alone.
        """
        if self.closed:
            return
        self.closed = True
        self._core.close(monotonic())
        self._pump()
        self._timer.cancel()
        self._on_close(self)
        await self._announcer.stop(timeout=timeout)

    # --- what the router asks ------------------------------------------------------------------------------

    def handshake(
        self, noise: bytes, client: Address, inbound: Inbound, now: float, *, direct: bool
    ) -> bytes | None:
        answer = self._core.handshake(noise, client, inbound, now, direct=direct)
        self._pump()
        return answer

    def holepunch(
        self, slot: int, payload: bytes, client: Address, inbound: Inbound, now: float
    ) -> bytes | None:
        """Answer a holepunch message of a client: the payload, or None if there is no answer."""
        answer = self._core.holepunch(slot, payload, client, inbound, now)
        self._pump()
        return answer

    def punch_received(self, source: Address) -> bool:
        """A single byte came from `source`. Returns whether one of our clients may have sent it."""
        answered = self._core.punch_received(source, monotonic())
        self._pump()
        return answered

    # --- streams ------------------------------------------------------------------------------------------

    def _open_stream(self, session: Session) -> int | None:
        assert session.remote is not None and session.remote.udx is not None
        try:
            arrival = Arrival(
                self._context,
                session.client,
                session.remote.udx.id,
                on_arrived=lambda: self._arrived(session),
                on_closed=lambda: self._lost(session),
            )
        except OSError:
            return None
        self._arrivals[session] = arrival
        return arrival.stream.local_id

    def _arrived(self, session: Session) -> None:
        self._core.arrived(session, monotonic())
        self._pump()

    def _lost(self, session: Session) -> None:
        self._core.lost(session, monotonic())
        self._pump()

    def _connected(self, session: Session) -> None:
        arrival = self._arrivals.pop(session)
        self._close_holes(session, keep=arrival.stream.socket)
        # Not from within the reading of packets: the application may do anything
        connection = arrival.take()
        address = connection.remote_address
        connection.punched = session.punched and address is not None and not is_private(address[0])
        connection.is_relay = None if arrival.rendezvous is None else arrival.rendezvous.passes
        self._context.endpoint.loop.call_soon(self._hand_over, connection)

    def _hand_over(self, connection: SecretConnection) -> None:
        if self.closed:
            connection.destroy()
        elif not connection.closed:
            self._on_connection(connection)

    def _pump(self) -> None:
        while (event := self._core.next_event()) is not None:
            match event:
                case Answered(session):
                    assert session.result is not None
                    self._arrivals[session].expect(session.result, session.client if session.direct else None)
                case Connected(session):
                    self._connected(session)
                case Greet(session):
                    self._arrivals[session].greet()
                case SendPunch(address, ttl, hole, session):
                    if hole is None or session is None:
                        self._context.socket.send(PUNCH, address, ttl)
                    else:
                        self._holes_of(session).send(hole, address, ttl)
                case RelayRendezvous(session, relay, is_initiator, wait):
                    rendezvous = Rendezvous(
                        self._context, relay, is_initiator=is_initiator, stream_id=session.stream_id
                    )
                    self._arrivals[session].rendezvous = rendezvous
                    self._context.spawn(self._meet(session, rendezvous, wait))
                case Expired(session):
                    self._close_holes(session)
                    arrival = self._arrivals.pop(session, None)
                    if arrival is not None:
                        arrival.destroy()
        self._timer.set(self._core.next_deadline())

    async def _meet(self, session: Session, rendezvous: Rendezvous, wait: float) -> None:
        await asyncio.sleep(wait)
        if session.over:
            return
        try:
            relayed = await rendezvous.run()
        except PeerUnreachable:
            return  # the client may still connect over another path
        if self._core.met(session, monotonic()):
            arrival = self._arrivals[session]
            arrival.meet(relayed)
            close_relay_with(arrival.stream, relayed)
        else:
            relayed.connection.destroy()
        self._pump()

    def _holes_of(self, session: Session) -> PunchSocketPool:
        if session not in self._holes:

            def heard(hole: int, source: Address, socket: UdpSocket) -> None:
                self._core.on_probe_received(session, hole, source, monotonic())
                self._pump()

            self._holes[session] = PunchSocketPool(self._context.endpoint, self._context.socket, heard)
        return self._holes[session]

    def _close_holes(self, session: Session, keep: UdpSocket | None = None) -> None:
        holes = self._holes.pop(session, None)
        if holes is not None:
            holes.close(keep)

    def _on_timer(self, now: float) -> None:
        self._core.handle_timer(now)
        self._pump()
