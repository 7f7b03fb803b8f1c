"""Connects to a peer by its public key.

Source: hyperdht lib/connect.js (6.34.0). First a Noise handshake through a node that relays to the peer, then
the first path that works: direct, over the local network, by hole punching, or through a blind relay. Any
packet of the peer on our stream decides for its path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, NamedTuple

from ...crypto import KeyPair, blake2b_256
from ...dht import queries
from ...dht.address import Address, is_private
from ...dht.connect_policy import (
    MAX_PARALLEL_HANDSHAKES,
    PASSIVE_SECONDS,
    Contact,
    acceptable,
    choose_route,
    read_handshake_answer,
)
from ...dht.constants import Command, Mode
from ...dht.messages import Handshake, NoisePayload, PeerRecord, UdxInfo
from ...dht.messages.handshake import RelayThrough
from ...dht.noise import ClientHandshake
from ...dht.rpc import OutgoingRequest, Reply
from ...errors import PeerNotFound, PeerUnreachable, RemoteProtocolError
from ...keys import encode_key
from ..net.secret_connection import SecretConnection
from ..net.udp_socket import UdpSocket
from ..net.udx_transport import StreamTransport
from ..race import race
from .blind_relay import Relayed, Rendezvous, close_relay_with
from .context import NodeContext
from .holepunch import HolePunch

HEAD_START_SECONDS = 0.5
"""Seconds that known relays get before the DHT is searched as well."""
NEXT_RELAY_SECONDS = 0.1
"""Seconds after which the next known relay is asked beside those that have not answered. A relay whose peer
is gone never answers: three of them in sequence would take 12 seconds. Ours."""
MAX_KNOWN_AT_ONCE = 4
"""Known relays asked at a time. Ours; a record names three."""
LAN_HEAD_START_SECONDS = 0.3
"""Seconds that an address of our own network gets before hole punching starts as well."""
LAN_RETRIES = 1
"""Repetitions of a request to an address of our own network."""
RELAY_DELAY_SECONDS = 3.0
"""Seconds that hole punching gets before a blind relay is asked as well."""
MAX_RELAYS_TRIED = 16
"""Nodes asked per attempt to relay our handshake."""
SEARCH_RETRIES = 3


MAX_FIRST_FLIGHT_BYTES = 4800
"""Bytes of UDP payload sent to a server whose address only a relay vouches for, until it acknowledges some.
Ours."""
MAX_REPEATED_FLIGHT_BYTES = 1200
"""Bytes added to MAX_FIRST_FLIGHT_BYTES with each retransmission timeout. Ours."""


class Path(NamedTuple):
    """A path to the peer that works."""

    address: Address
    socket: UdpSocket
    relayed: Relayed | None = None
    """The blind relay that the path uses, if any."""
    proven: bool = True
    """Whether a packet of the server came over it."""


class ConnectAttempt:
    """One attempt to connect."""

    def __init__(
        self,
        context: NodeContext,
        public_key: bytes,
        key_pair: KeyPair,
        relays: tuple[Address, ...],
        *,
        lan: bool,
        fast_open: bool,
        relay: bytes | None = None,
    ) -> None:
        """`relay`: public key of a blind relay that both sides may use."""
        self._context = context
        self._public_key = public_key
        self._target = blake2b_256(public_key)
        self.relays = relays
        """Nodes that may relay to the peer; after `run`, those to ask the next time."""
        self._lan = lan
        self._fast_open = fast_open
        self._own_relay = None if relay is None else RelayThrough(relay, context.rng.randbytes(32))
        self._rendezvous: Rendezvous | None = None
        self._punches = False
        """Whether a hole is tried."""
        self._handshake = ClientHandshake(key_pair, public_key, context.rng.randbytes)
        self._request = b""
        self._tried: list[Address] = []
        self._asking = asyncio.Semaphore(MAX_PARALLEL_HANDSHAKES)
        loop = context.endpoint.loop
        self._contact: asyncio.Future[Contact] = loop.create_future()
        self._path: asyncio.Future[Path] = loop.create_future()

    async def run(self) -> SecretConnection:
        """The connection. Raises PeerNotFound and PeerUnreachable."""
        try:
            stream = self._context.create_stream(self._on_packet)
        except OSError as error:
            raise PeerUnreachable(f"no stream to connect with: {error}") from None
        stream.pause_reading()  # a server that connects to us may send before we have its keys
        try:
            self._request = self._first_message(stream.local_id)
            contact = await self._do_handshake()
            path = await self._find_path(contact, stream.local_id)
        except BaseException:
            stream.destroy()
            raise
        finally:
            self._contact.cancel()
            self._path.cancel()
        return self._connect(stream, contact, path)

    def _first_message(self, stream_id: int) -> bytes:
        profile = self._context.profile()
        payload = NoisePayload(
            firewall=profile.handshake_firewall,
            addresses4=profile.handshake_addresses if self._lan or profile.public else (),
            udx=UdxInfo(stream_id),
            secret_stream=1,
            relay_through=self._own_relay,
        )
        try:
            noise = self._handshake.write(payload)
        except RemoteProtocolError as error:
            raise PeerUnreachable(
                f"no peer can have the key {encode_key(self._public_key)}: {error}"
            ) from None
        return Handshake(mode=Mode.FROM_CLIENT, noise=noise).encode()

    def _on_packet(self, socket: UdpSocket, address: tuple[str, int]) -> bool:
        if not address[1] or (self._rendezvous is not None and self._rendezvous.passes(address)):
            return False
        self._found(Address(*address), socket)
        return True

    def _found(
        self, address: Address, socket: UdpSocket, relayed: Relayed | None = None, *, proven: bool = True
    ) -> None:
        if not self._path.done():
            self._path.set_result(Path(address, socket, relayed, proven))

    def _punched(self, address: Address, socket: UdpSocket) -> None:
        """A byte got through; any host can send one."""
        self._found(address, socket, proven=False)

    # --- the handshake ------------------------------------------------------------------------------------

    async def _do_handshake(self) -> Contact:
        await race(self._contact, self._ask_known(), self._search())
        if self._contact.done():
            return self._contact.result()
        if self._tried:
            raise PeerUnreachable("nodes that know the peer did not get through to it")
        raise PeerNotFound("no node knows the peer")

    async def _ask_known(self) -> None:
        """Ask known relays side by side, each a moment after the one before."""
        waiting = asyncio.Semaphore(MAX_KNOWN_AT_ONCE)

        async def ask(relay: Address, after: float) -> None:
            await asyncio.sleep(after)
            async with waiting:
                await self._ask(relay)

        relays = self.relays[:MAX_RELAYS_TRIED]
        await asyncio.gather(*(ask(relay, at * NEXT_RELAY_SECONDS) for at, relay in enumerate(relays)))

    async def _search(self) -> None:
        if self.relays:
            await asyncio.sleep(HEAD_START_SECONDS)
        for seeds in (self.relays, ()) if self.relays else ((),):
            asking: list[asyncio.Task[None]] = []

            def on_record(
                reply: Reply, record: PeerRecord, asking: list[asyncio.Task[None]] = asking
            ) -> None:
                if len(asking) < MAX_RELAYS_TRIED and reply.source not in self.relays:
                    asking.append(self._context.spawn(self._ask_relays(reply.source)))

            try:
                await self._context.client.run_query(
                    lambda done, seeds=seeds, on_record=on_record: queries.find_peer(  # type: ignore[misc]
                        self._context.core,
                        self._target,
                        seeds=seeds,
                        retries=SEARCH_RETRIES,
                        on_record=on_record,
                        on_done=done,
                    )
                )
                await asyncio.gather(*asking)
            finally:
                for task in asking:
                    task.cancel()

    async def _ask_relays(self, relay: Address) -> None:
        async with self._asking:
            await self._ask(relay)

    async def _ask(self, relay: Address) -> None:
        """Send the handshake through `relay`; a right answer ends the search."""
        if self._contact.done() or relay in self._tried:
            return
        self._tried.append(relay)
        outgoing = OutgoingRequest(
            relay, Command.PEER_HANDSHAKE, target=self._target, value=self._request, force=True
        )
        reply = await self._context.client.request(outgoing)
        answer = None if reply is None else read_handshake_answer(reply)
        if reply is None or answer is None or self._contact.done():
            return
        try:
            payload, result = self._handshake.read(answer.noise)
        except RemoteProtocolError:
            return
        if acceptable(payload):
            contact = Contact(relay, answer.server, reply.to, answer.relayed, payload, result, answer.noise)
            self._contact.set_result(contact)
        else:
            self._contact.set_exception(PeerUnreachable("the peer will not talk to us"))

    # --- the way ------------------------------------------------------------------------------------------

    async def _find_path(self, contact: Contact, stream_id: int) -> Path:
        if self._path.done():
            return self._path.result()
        route = choose_route(contact, self._context.profile(), lan=self._lan)
        if route.direct is not None:
            return Path(route.direct, self._context.socket, proven=not contact.relayed)
        ways: list[Coroutine[Any, Any, None]] = []
        failures: list[PeerUnreachable] = []
        if route.passive:
            ways.append(asyncio.sleep(PASSIVE_SECONDS))
        if route.lan:
            ways.append(self._try_lan(route.lan, contact))
        punch: HolePunch | None = None
        if route.punch is not None:
            punch = HolePunch(
                self._context, self._target, contact, route.punch, self._punched, fast_open=self._fast_open
            )
            # A server that finds punching hopeless gives us up, though we may be about to arrive over the LAN
            wait = LAN_HEAD_START_SECONDS if route.lan else 0.0
            ways.append(_collect_failure(_after(wait, punch.run()), failures))
            self._punches = True
        theirs = contact.payload.relay_through
        relay = theirs or self._own_relay
        if relay is not None:
            self._rendezvous = Rendezvous(
                self._context, relay, is_initiator=theirs is None, stream_id=stream_id
            )
            wait = 0.0 if route.punch is None else RELAY_DELAY_SECONDS
            ways.append(_collect_failure(_after(wait, self._try_relay(self._rendezvous)), failures))
        try:
            await race(self._path, *ways)
        finally:
            found = self._path.result() if self._path.done() else None
            if punch is not None:
                punch.close(keep=None if found is None else found.socket)
        if found is not None:
            return found
        raise failures[0] if failures else PeerUnreachable("the peer cannot be reached from here")

    async def _try_relay(self, rendezvous: Rendezvous) -> None:
        relayed = await rendezvous.run()
        if self._path.done():
            relayed.connection.destroy()
        self._found(relayed.address, relayed.socket, relayed)

    async def _try_lan(self, addresses: tuple[Address, ...], contact: Contact) -> None:
        """Ask at each for the answer that we have already: that is the server, and not some other node.

        Older official servers answer such a question from another socket. They are pinged after that; a node
        that has answered, and does not know the server, is another one.
        """
        answers = await asyncio.gather(*(self._try_neighbour(address, contact) for address in addresses))
        silent = [address for address, answered in zip(addresses, answers, strict=True) if not answered]
        if silent and await self._context.client.ping(silent[0]) is not None:
            self._found(silent[0], self._context.socket)

    async def _try_neighbour(self, address: Address, contact: Contact) -> bool:
        """Whether there was an answer from there."""
        outgoing = OutgoingRequest(
            address,
            Command.PEER_HANDSHAKE,
            target=self._target,
            value=self._request,
            retries=LAN_RETRIES,
            force=True,
        )
        reply = await self._context.client.request(outgoing)
        answer = None if reply is None else read_handshake_answer(reply)
        if answer is not None and answer.noise == contact.noise:
            self._found(address, self._context.socket)
        return reply is not None

    def _connect(self, stream: StreamTransport, contact: Contact, path: Path) -> SecretConnection:
        assert contact.payload.udx is not None
        relayed = path.relayed
        own_id, rendezvous = contact.payload.udx.id, self._rendezvous

        def may_follow(socket: UdpSocket, address: tuple[str, int]) -> int | None:
            # What a relay passes on does not show another way to the server; a packet from elsewhere does
            return None if rendezvous is not None and rendezvous.passes(address) else own_id

        stream.connect(
            own_id if relayed is None else relayed.stream_id,
            path.address,
            path.socket,
            budget=None if path.proven else MAX_FIRST_FLIGHT_BYTES,
            timeout_budget=MAX_REPEATED_FLIGHT_BYTES,
            may_follow=None if rendezvous is None else may_follow,
        )
        self.relays = (contact.payload.relay_addresses or tuple(self._tried))[:MAX_RELAYS_TRIED]
        connection = SecretConnection(
            stream, contact.result, loop=self._context.endpoint.loop, random=self._context.rng.randbytes
        )
        connection.punched = self._punches and not is_private(path.address.host)  # our own network needs none
        connection.is_relay = None if rendezvous is None else rendezvous.passes
        if relayed is not None:
            close_relay_with(stream, relayed)
        return connection


async def _after(seconds: float, way: Coroutine[Any, Any, None]) -> None:
    try:
        await asyncio.sleep(seconds)
    except BaseException:
        way.close()
        raise
    await way


async def _collect_failure(way: Coroutine[Any, Any, None], failures: list[PeerUnreachable]) -> None:
    try:
        await way
    except PeerUnreachable as error:
        failures.append(error)
