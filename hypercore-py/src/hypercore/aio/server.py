"""Taking connections under a key pair, found through the DHT."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from ..crypto import KeyPair
from ..dht.address import Address
from ..dht.inbound import Inbound
from ..dht.messages import NoisePayload
from ..dht.relays import AnnouncedRelays
from ..dht.serving import Connected, Expired, MeetAtRelay, SendPunch, ServingCore, Session
from ..dht.volleys import PUNCH
from ..errors import PeerUnreachable
from .alarm import Alarm
from .announcer import Announcer
from .blindrelay import Relayed, Rendezvous, tie
from .connection import SecretConnection
from .holes import Holes
from .udp import UdpSocket
from .udx import StreamTransport

if TYPE_CHECKING:
    from .dht import DhtNode


class Server:
    """Made by `DhtNode.listen`. `on_connection(connection)` is called with each client."""

    def __init__(
        self,
        node: DhtNode,
        key_pair: KeyPair,
        on_connection: Callable[[SecretConnection], None],
        *,
        firewall: Callable[[bytes, NoisePayload, Address], bool] | None = None,
    ) -> None:
        self.key_pair = key_pair
        self.on_connection = on_connection
        self.closed = False
        self._node = node
        self._relays = AnnouncedRelays()
        self._core = ServingCore(
            key_pair,
            relays=self._relays,
            surroundings=node.surroundings,
            open_stream=self._open_stream,
            random_bytes=node.rng.randbytes,
            firewall=firewall,
            random_punches=node.random_punches,
            relay_through=lambda: node.relay_through if node.needs_relay else None,
        )
        self._announcer = Announcer(node, key_pair, self._core.target, self._relays)
        self._streams: dict[Session, StreamTransport] = {}
        self._holes: dict[Session, Holes] = {}
        self._rendezvous: dict[Session, Rendezvous] = {}
        self._alarm = Alarm(node.endpoint.loop, self._on_timer)

    @property
    def public_key(self) -> bytes:
        return self.key_pair.public_key

    @property
    def target(self) -> bytes:
        """What the DHT knows us by: the hash of the public key."""
        return self._core.target

    @property
    def relay_addresses(self) -> tuple[Address, ...]:
        """Nodes that relay to us, for our records."""
        public = self._node.surroundings().public
        relays = self._relays.addresses
        return relays if public is None else (public, *relays)[:3]

    async def listen(self) -> None:
        """Announce ourselves; it is kept up until `close`."""
        await self._announcer.start()

    def renew(self) -> None:
        """Something about the network changed: announce anew."""
        self._announcer.renew()

    async def renewed(self) -> None:
        """Announce anew, and wait until that is done."""
        await self._announcer.renewed()

    async def close(self, *, within: float = 2.0) -> None:
        """Take no more connections, and take back the announcement in so many seconds at most.

        Connections that stand are left alone.
        """
        if self.closed:
            return
        self.closed = True
        self._core.close(monotonic())
        self._pump()
        self._alarm.cancel()
        self._node.forget_server(self)
        await self._announcer.stop(within=within)

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
        answer = self._core.holepunch(slot, payload, client, inbound, now)
        self._pump()
        return answer

    def punch_received(self, source: Address) -> bool:
        """A single byte came from `source`. Whether one of our clients may be behind it."""
        answered = self._core.punch_received(source, monotonic())
        self._pump()
        return answered

    # --- streams ------------------------------------------------------------------------------------------

    def _open_stream(self, session: Session) -> int | None:
        try:
            stream = self._node.endpoint.create_stream()
        except OSError:
            return None
        stream.accept = lambda socket, address: self._first_packet(session, socket, address)
        self._streams[session] = stream
        return stream.local_id

    def _first_packet(self, session: Session, socket: UdpSocket, address: tuple[str, int]) -> bool:
        rendezvous = self._rendezvous.get(session)
        if rendezvous is not None and rendezvous.passes(address):
            return False
        found = self._core.path_found(session, Address(*address), monotonic(), socket)
        self._pump()
        return found

    def _connected(self, session: Session, address: Address, via: object) -> None:
        stream = self._streams.pop(session)
        stream.accept = None
        assert session.remote is not None and session.remote.udx is not None and session.result is not None
        relayed = via if isinstance(via, Relayed) else None
        socket = via.socket if isinstance(via, Relayed) else via
        if not isinstance(socket, UdpSocket):
            socket = self._node.socket
        self._close_holes(session, keep=socket)
        self._rendezvous.pop(session, None)
        stream.connect(session.remote.udx.id if relayed is None else relayed.stream_id, address, socket)
        loop = self._node.endpoint.loop
        connection = SecretConnection(stream, session.result, loop=loop, random=self._node.rng.randbytes)
        if relayed is not None:
            tie(stream, relayed)
        # Not from within the reading of packets: the application may do anything
        loop.call_soon(self._hand_over, connection)

    def _hand_over(self, connection: SecretConnection) -> None:
        if self.closed:
            connection.destroy()
        else:
            self.on_connection(connection)

    def _pump(self) -> None:
        while (event := self._core.next_event()) is not None:
            match event:
                case Connected(session, address, via):
                    self._connected(session, address, via)
                case SendPunch(address, ttl, hole, session):
                    if hole is None or session is None:
                        self._node.socket.send(PUNCH, address, ttl)
                    else:
                        self._holes_of(session).send(hole, address, ttl)
                case MeetAtRelay(session, relay, is_initiator, wait):
                    rendezvous = Rendezvous(
                        self._node, relay, is_initiator=is_initiator, stream_id=session.stream_id
                    )
                    self._rendezvous[session] = rendezvous
                    self._node.spawn(self._meet(session, rendezvous, wait))
                case Expired(session):
                    self._close_holes(session)
                    self._rendezvous.pop(session, None)
                    stream = self._streams.pop(session, None)
                    if stream is not None:
                        stream.destroy()
        self._alarm.set(self._core.next_deadline())

    async def _meet(self, session: Session, rendezvous: Rendezvous, wait: float) -> None:
        await asyncio.sleep(wait)
        if session.over:
            return
        try:
            relayed = await rendezvous.run()
        except PeerUnreachable:
            return  # it may still come another way
        if not self._core.path_found(session, relayed.address, monotonic(), relayed):
            relayed.connection.destroy()
        self._pump()

    def _holes_of(self, session: Session) -> Holes:
        if session not in self._holes:

            def heard(hole: int, source: Address, socket: UdpSocket) -> None:
                self._core.hole_heard(session, hole, source, monotonic())
                self._pump()

            self._holes[session] = Holes(self._node.endpoint, self._node.socket, heard)
        return self._holes[session]

    def _close_holes(self, session: Session, keep: UdpSocket | None = None) -> None:
        holes = self._holes.pop(session, None)
        if holes is not None:
            holes.close(keep)

    def _on_timer(self, now: float) -> None:
        self._core.handle_timer(now)
        self._pump()
