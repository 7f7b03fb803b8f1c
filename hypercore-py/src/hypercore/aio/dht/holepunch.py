"""Punches a hole to a server, as its client.

Source: hyperdht lib/connect.js (6.34.0), `probeRound` and `roundPunch`. We punch from our usual socket,
whose NAT is known already; only behind a random NAT more sockets are opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from time import monotonic
from typing import NamedTuple

from ...dht.address import Address
from ...dht.connect_policy import Contact, read_holepunch_answer
from ...dht.constants import Command, Firewall, HandshakeStatus, Mode
from ...dht.messages import Holepunch, HolepunchPayload, RelayInfo, SecurePayload
from ...dht.noise import holepunch_secret
from ...dht.punch_probes import LOW_TTL, PUNCH
from ...dht.punching import Puncher
from ...dht.rpc import OutgoingRequest
from ...errors import PeerUnreachable, RemoteProtocolError
from ..net.udp_socket import UdpSocket
from .context import NodeContext
from .punch_sockets import PunchSocketPool

REMOTE_NAT_SECONDS = 1.0
"""Seconds given to a server that does not know its own NAT yet."""
NAT_PINGS = 4
"""Nodes asked for our address if we do not know it."""


class Probe(NamedTuple):
    """Result of the first round."""

    token: bytes | None
    """Sent back to the server in the second round."""
    server: Address
    """The address from which the server punches."""


class HolePunch:
    """One attempt. Call `close` at its end, also after a failure. `run` returns only by raising.

    `on_path(address, socket)` is called when a byte has come through.
    """

    def __init__(
        self,
        context: NodeContext,
        target: bytes,
        contact: Contact,
        relay: RelayInfo,
        on_path: Callable[[Address, UdpSocket], None],
        *,
        fast_open: bool = True,
    ) -> None:
        self._context = context
        self._target = target
        self._contact = contact
        self._relay = relay
        self._on_path = on_path
        self._fast_open = fast_open
        self._server = contact.server
        self._round = 0
        self._box = SecurePayload(holepunch_secret(contact.result.hash), context.rng.randbytes)
        self._puncher = Puncher(
            initiator=True,
            remote_host=contact.server.host,
            remote_firewall=contact.payload.firewall,
            random_bytes=context.rng.randbytes,
        )
        self._holes = PunchSocketPool(context.endpoint, context.socket, self._hole_heard)

    # --- what the node asks when a byte comes in -----------------------------------------------------

    def punched(self, source: Address, socket: UdpSocket) -> bool:
        """A byte came to the usual socket. Returns whether it is the awaited one."""
        if source != self._server and not self._puncher.awaits(source):
            return False
        self._on_path(source, socket)
        return True

    def _hole_heard(self, hole: int, source: Address, socket: UdpSocket) -> None:
        if self._puncher.expects(source.host):
            self._on_path(source, socket)

    def close(self, keep: UdpSocket | None = None) -> None:
        """Close the sockets opened for this punch, except `keep`."""
        self._holes.close(keep)

    # --- the rounds ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Punch a hole to the server. Raises PeerUnreachable when punching fails. Cancel it when another path
        works."""
        self._context.punch_listeners.add(self)
        try:
            probe = await self._probe(retry=True)
            if self._relay.relay_address == self._contact.relay and probe.server != self._server:
                # As the shared relay sees it: the server has moved to another socket meanwhile
                self._server = probe.server
                self._open()
            if self._puncher.is_random(self._context.profile().firewall):
                await self._punch_through_random(probe.token)
            else:
                await self._agree(probe.token)
                await self._punch()
        finally:
            self._context.punch_listeners.discard(self)
        raise PeerUnreachable("hole punching led nowhere")

    def _open(self) -> None:
        """Make a mapping for the server in our own NAT, with a packet that does not reach it."""
        self._context.socket.send(PUNCH, self._server, LOW_TTL)

    async def _probe(self, *, retry: bool) -> Probe:
        """The first round: each side learns of the other's NAT."""
        opened = self._server if self._fast_open and self._server.port else None
        if opened is not None:
            self._open()
        profile = self._context.profile()
        answer, server = await self._exchange(
            self._relay,
            HolepunchPayload(
                firewall=profile.firewall,
                addresses=profile.seen,
                remote_address=opened,
                round=self._next_round(),
            ),
        )
        self._puncher.update(answer, None)
        if answer.firewall == Firewall.UNKNOWN:
            await asyncio.sleep(REMOTE_NAT_SECONDS)
        if self._context.profile().firewall == Firewall.UNKNOWN:
            await self._learn_own_nat()
        if retry and (answer.firewall == Firewall.UNKNOWN or answer.token is None):
            return await self._probe(retry=False)
        ours, theirs = self._context.profile().firewall, answer.firewall
        if Firewall.UNKNOWN in (ours, theirs) or (ours, theirs) == (Firewall.RANDOM, Firewall.RANDOM):
            await self._abort()
            raise PeerUnreachable(f"no hole can be punched: our NAT is {ours.name}, theirs {theirs}")
        return Probe(answer.token, server)

    async def _learn_own_nat(self) -> None:
        nodes = [node.address for node in islice(self._context.core.table.latest(), NAT_PINGS)]
        await asyncio.gather(*(self._context.client.ping(address, retries=0) for address in nodes))

    async def _agree(self, token: bytes | None) -> None:
        """The second round: both begin to punch."""
        profile = self._context.profile()
        ours = self._box.token(self._server.host)
        answer, _ = await self._exchange(
            RelayInfo(self._contact.relay, self._server),
            HolepunchPayload(
                firewall=profile.firewall,
                round=self._next_round(),
                punching=True,
                addresses=profile.seen,
                token=ours,
                remote_token=token,
            ),
        )
        verified = answer.remote_token == ours
        self._puncher.update(answer, self._server.host if verified else None)
        if not answer.punching:
            raise PeerUnreachable("the server does not punch")
        if not self._puncher.start(profile.firewall, monotonic()):
            raise PeerUnreachable("the server's NAT cannot be punched")

    async def _punch_through_random(self, token: bytes | None) -> None:
        """Punch when one of the NATs is random. It takes hundreds of packets, so one such punch runs at a
        time."""
        punches = self._context.random_punches
        if not punches.may_start(monotonic()):
            raise PeerUnreachable("another punch through a random NAT is under way, or has just been")
        punches.start()
        try:
            await self._agree(token)
        except BaseException:
            punches.end(None)
            raise
        try:
            await self._punch()
        finally:
            punches.end(monotonic())

    async def _punch(self) -> None:
        while (at := self._puncher.next_deadline()) is not None:
            await asyncio.sleep(max(at - monotonic(), 0.0))
            now = monotonic()
            self._puncher.handle_timer(now)
            for address, ttl, hole in self._puncher.take_output(now):
                if hole is None:
                    self._context.socket.send(PUNCH, address, ttl)
                else:
                    self._holes.send(hole, address, ttl)

    async def _abort(self) -> None:
        payload = HolepunchPayload(error=HandshakeStatus.ABORTED, round=self._next_round())
        try:
            await self._exchange(self._relay, payload)
        except PeerUnreachable:
            return

    async def _exchange(
        self, relay: RelayInfo, payload: HolepunchPayload
    ) -> tuple[HolepunchPayload, Address]:
        """Send a payload over a relay. Returns the server's answer, and where it came from."""
        info = self._contact.payload.holepunch
        assert info is not None
        value = Holepunch(
            mode=Mode.FROM_CLIENT,
            id=info.id,
            payload=self._box.seal(payload),
            peer_address=relay.peer_address,
        ).encode()
        outgoing = OutgoingRequest(
            relay.relay_address, Command.PEER_HOLEPUNCH, target=self._target, value=value, force=True
        )
        reply = await self._context.client.request(outgoing)
        if reply is None:
            raise PeerUnreachable("the server did not answer over its relay")
        answer = read_holepunch_answer(reply)
        if answer is None:
            raise PeerUnreachable("the relay talks nonsense")
        try:
            remote = self._box.open(answer.payload)
        except RemoteProtocolError as error:
            raise PeerUnreachable(str(error)) from None
        if remote.error != HandshakeStatus.NONE:
            raise PeerUnreachable(f"the server gave up hole punching (error {remote.error})")
        return remote, answer.server

    def _next_round(self) -> int:
        number, self._round = self._round, self._round + 1
        return number
