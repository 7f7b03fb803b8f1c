"""A server's side of handshakes and hole punching.

Source: hyperdht lib/server.js (6.34.0). A client asks through several relays and repeats itself, so equal
Noise bytes get the equal answer; and it may arrive over the local network, straight, or through a hole, so
each handshake opens a stream that takes the first packet from wherever it comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from ..crypto import KeyPair, blake2b_256
from ..errors import RemoteProtocolError
from .address import Address
from .constants import Firewall, HandshakeStatus
from .incoming_request import Inbound
from .messages import HolepunchInfo, HolepunchPayload, NoisePayload, RelayInfo, SecurePayload, UdxInfo
from .messages.handshake import VERSION, RelayThrough
from .network_profile import NetworkProfile
from .noise import ServerHandshake, holepunch_secret
from .punching import Puncher, RandomPunches
from .relays import AnnouncedRelays
from .sessions import Session, SessionTable, Step
from .work_budget import HANDSHAKES, WorkBudget

PATH_SECONDS = 10.0
"""Seconds for a client to arrive after the handshake, or after punching began."""
PUNCH_SECONDS = 13.0
"""The same when both sides punch: ten ticks and a margin."""
RANDOM_PUNCH_SECONDS = 40.0
"""The same if one of the NATs is random: 1,750 bytes and a margin."""
RELAY_DELAY_SECONDS = 1.0
"""Seconds that hole punching gets before a blind relay is used."""
RELAY_SECONDS = 15.0
"""Seconds for both sides to connect to the relay (hyperdht lib/server.js)."""
MAX_MEETINGS = 32
"""Clients for which we dial a blind relay at a time. A client may name any relay; beyond this number clients
must connect otherwise. Ours."""
DISCARD_SECONDS = 10.0
"""Seconds for which an answer is kept for repetitions after the session ended."""


class Answered(NamedTuple):
    """The session has keys: its stream may be read."""

    session: Session


class Connected(NamedTuple):
    """The client has arrived: pass the session's connection to the application."""

    session: Session


class Greet(NamedTuple):
    """Send the first packet of the session's stream to the reported address of the client, which waits for
    it. The address is not proven."""

    session: Session


class Expired(NamedTuple):
    """The client did not arrive: destroy the session's stream."""

    session: Session


class RelayRendezvous(NamedTuple):
    """Connect to the client at a blind relay, after `wait` seconds, in which it may arrive otherwise."""

    session: Session
    relay: RelayThrough
    is_initiator: bool
    wait: float


class SendPunch(NamedTuple):
    """Send one byte to `address`."""

    address: Address
    ttl: int | None = None
    hole: int | None = None
    """Number of the session's own socket to send it from; None: the usual one."""
    session: Session | None = None


ServingEvent = Answered | Connected | Expired | Greet | RelayRendezvous | SendPunch

ClientFilter = Callable[[bytes, NoisePayload, Address], bool]


class ServerCore:
    """All sessions of one key pair.

    `open_stream(session)` makes a UDX stream and returns its local id, or None if there are too many. Call
    `arrived` when the client's valid stream header has come on it. `firewall(public_key, payload, address)`
    returns whether a client is refused. `profile()` returns how peers can reach us now. `relay_through()`
    returns the public key of the blind relay that clients should use, None if they need none now.
    `random_punches` and `handshakes` are shared by the servers of a node.
    """

    def __init__(
        self,
        key_pair: KeyPair,
        *,
        relays: AnnouncedRelays,
        profile: Callable[[], NetworkProfile],
        open_stream: Callable[[Session], int | None],
        random_bytes: Callable[[int], bytes],
        firewall: ClientFilter | None = None,
        random_punches: RandomPunches | None = None,
        relay_through: Callable[[], bytes | None] = lambda: None,
        handshakes: WorkBudget | None = None,
    ) -> None:
        self.key_pair = key_pair
        self.target = blake2b_256(key_pair.public_key)
        self.relays = relays
        self._profile = profile
        self._open_stream = open_stream
        self._random_bytes = random_bytes
        self._firewall = firewall
        self._random_punches = random_punches or RandomPunches()
        self._relay_through = relay_through
        self._handshakes = handshakes or WorkBudget(HANDSHAKES)
        self._sessions = SessionTable()
        self._timers: list[tuple[float, int, Session]] = []
        self._order = count()
        self._events: deque[ServingEvent] = deque()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def awaited(self) -> int:
        """Clients that may still arrive."""
        return self._sessions.awaited

    def next_event(self) -> ServingEvent | None:
        return self._events.popleft() if self._events else None

    # --- handshakes ---------------------------------------------------------------------------------------

    def handshake(
        self, noise: bytes, client: Address, inbound: Inbound, now: float, *, direct: bool
    ) -> bytes | None:
        """The answer to the Noise message of a client at `client`, or None for no answer."""
        session = self._sessions.get(noise)
        if session is None:
            # Our own relays forward the handshakes of others: there the client's network counts
            own_relay = not direct and self.relays.is_relay(inbound.source)
            if not self._handshakes.take((client if own_relay else inbound.source).host, now):
                return None
            session = self._accept(noise, client, inbound.source.host, now, direct=direct)
        return session.reply if session is not None else None

    def _accept(self, noise: bytes, client: Address, via: str, now: float, *, direct: bool) -> Session | None:
        handshake = ServerHandshake(self.key_pair, self._random_bytes)
        try:
            remote, public_key = handshake.read(noise)
        except RemoteProtocolError:
            return None
        session = self._sessions.add(noise, client, via, direct=direct)
        session.remote_public_key, session.remote = public_key, remote
        if self._firewall is not None and self._firewall(public_key, remote, client):
            self._end(session, now, Step.REFUSE)
            return session
        error = _handshake_error(remote)
        if error == HandshakeStatus.NONE:
            surplus = self._sessions.surplus(via)
            if surplus is not None:
                self._expire(surplus, now)
            self._sessions.expect(session)
            stream_id = self._open_stream(session)
            if stream_id is None:
                self._end(session, now, Step.REFUSE)
                return session
            session.stream_id = stream_id
        try:
            own = self._own_relay() if error == HandshakeStatus.NONE else None
            session.reply, session.result = handshake.write(self._payload(session, error, own))
        except RemoteProtocolError:  # the client's key is no point of the curve
            self._expire(session, now)
            return session
        if error != HandshakeStatus.NONE:
            self._end(session, now, Step.REFUSE)
            return session
        self._events.append(Answered(session))
        if direct or remote.firewall == Firewall.OPEN:
            self._wait(session, now + PATH_SECONDS)
            if not direct and client.port and self._profile().public is None:
                self._events.append(Greet(session))
        else:
            session.secure = SecurePayload(holepunch_secret(session.result.hash), self._random_bytes)
            session.puncher = Puncher(
                initiator=False,
                remote_host=client.host,
                remote_firewall=remote.firewall,
                random_bytes=self._random_bytes,
            )
            self._sessions.record_hosts(session)
            self._wait(session, now + PATH_SECONDS)
            relay = own or remote.relay_through
            if relay is not None and self._meetings() < MAX_MEETINGS:
                self._meet_at(session, relay, own is not None, now)
        return session

    def _meetings(self) -> int:
        return sum(session.relay for session in self._sessions.under_way())

    def _own_relay(self) -> RelayThrough | None:
        public_key = self._relay_through()
        return None if public_key is None else RelayThrough(public_key, self._random_bytes(32))

    def _meet_at(self, session: Session, relay: RelayThrough, is_initiator: bool, now: float) -> None:
        session.relay = True
        holes = self._profile().firewall < Firewall.RANDOM
        wait = RELAY_DELAY_SECONDS if holes else 0.0
        self._wait(session, now + wait + RELAY_SECONDS)
        self._events.append(RelayRendezvous(session, relay, is_initiator, wait))

    def _payload(self, session: Session, error: HandshakeStatus, relay: RelayThrough | None) -> NoisePayload:
        profile = self._profile()
        relays: tuple[RelayInfo, ...] = self.relays.current
        relay_addresses = self.relays.addresses
        return NoisePayload(
            error=error,
            firewall=profile.handshake_firewall,
            holepunch=None if profile.public else HolepunchInfo(session.slot, relays),
            addresses4=profile.handshake_addresses,
            udx=UdxInfo(session.stream_id),
            secret_stream=1,
            relay_through=relay,
            relay_addresses=relay_addresses or None,
        )

    def arrived(self, session: Session, now: float) -> bool:
        """The client's stream header has come. False if the session has ended."""
        if session.over:
            return False
        self._end(session, now, Step.ARRIVE)
        self._events.append(Connected(session))
        return True

    def lost(self, session: Session, now: float) -> None:
        """The session's stream has closed before the client arrived."""
        if not session.over:
            self._expire(session, now)

    def met(self, session: Session, now: float) -> bool:
        """A relay forwards the client's packets. False if the session has ended."""
        if session.over:
            return False
        self._wait(session, now + PATH_SECONDS)
        return True

    # --- hole punching ------------------------------------------------------------------------------------

    def holepunch(
        self, slot: int, payload: bytes, client: Address, inbound: Inbound, now: float
    ) -> bytes | None:
        """The answer to a sealed hole-punch payload, or None for no answer."""
        session = self._sessions.at(slot)
        if session is None or session.secure is None or session.puncher is None:
            return None
        try:
            remote = session.secure.open(payload)
        except RemoteProtocolError:
            return None
        if session.connected:
            return None
        if session.over or remote.error != HandshakeStatus.NONE:
            return self._abort(session, now)
        return self._punch(session, session.secure, session.puncher, remote, client, inbound.source, now)

    def _punch(
        self,
        session: Session,
        secure: SecurePayload,
        puncher: Puncher,
        remote: HolepunchPayload,
        client: Address,
        relay: Address,
        now: float,
    ) -> bytes:
        profile = self._profile()
        token = secure.token(client.host)
        via_own_relay = self.relays.is_relay(relay)
        if remote.round >= session.round:
            session.round = remote.round
            verified = via_own_relay and remote.remote_token == token
            puncher.update(remote, client.host if verified else None)
            self._sessions.record_hosts(session)
        hopeless = profile.firewall == Firewall.UNKNOWN or (
            profile.firewall >= Firewall.RANDOM and puncher.remote_firewall >= Firewall.RANDOM
        )
        if hopeless and not puncher.remote_punching:
            return self._abort(session, now)
        if remote.remote_address is not None and remote.remote_address in (profile.seen or ()):
            # Fast open: the client's NAT has just made a mapping for us
            session.punched = True
            self._events.append(SendPunch(client))
        if puncher.remote_punching and not puncher.punching:
            random = puncher.is_random(profile.firewall)
            if random and not self._random_punches.may_start(now):
                return self._abort(session, now, HandshakeStatus.TRY_LATER)
            if not puncher.start(profile.firewall, now):
                return self._abort(session, now)
            session.punched = True
            if random:
                session.random = True
                self._random_punches.start()
            self._wait(session, now + (RANDOM_PUNCH_SECONDS if random else PUNCH_SECONDS))
        return secure.seal(
            HolepunchPayload(
                firewall=profile.firewall,
                round=session.round,
                punching=puncher.punching,
                addresses=profile.seen,
                token=token if via_own_relay else None,
                remote_token=remote.token,
            )
        )

    def _abort(self, session: Session, now: float, error: HandshakeStatus = HandshakeStatus.ABORTED) -> bytes:
        assert session.secure is not None
        if not session.over and not session.relay and not self._is_neighbour(session):
            self._expire(session, now)
        return session.secure.seal(HolepunchPayload(error=error, round=session.round))

    def _is_neighbour(self, session: Session) -> bool:
        """Whether the client is behind the same NAT, so that it may still connect over our own network."""
        return any(session.client.host == address.host for address in self._profile().seen or ())

    def punch_received(self, source: Address, now: float) -> bool:
        """A single byte came from `source`, perhaps from a client that punches. It is answered, within
        bounds.

        Costs the same however many clients are awaited: any host may send such bytes.
        """
        for session in self._sessions.punching_at(source.host):
            if session.puncher is not None and session.puncher.may_echo(source, now):
                self._events.append(SendPunch(source))
                return True
        return False

    def on_probe_received(self, session: Session, hole: int, source: Address, now: float) -> None:
        """The same, at a socket that only this session has."""
        if not session.over and session.puncher is not None and session.puncher.may_echo(source, now):
            self._events.append(SendPunch(source, hole=hole, session=session))

    # --- the clock ----------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        while self._timers and self._stale(self._timers[0]):
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def handle_timer(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            entry = heappop(self._timers)
            if not self._stale(entry):
                self._due(entry[2], now)

    def _due(self, session: Session, now: float) -> None:
        if session.over:
            self._sessions.discard(session)
            return
        puncher = session.puncher
        if puncher is not None and puncher.punching:
            puncher.handle_timer(now)
            self._events.extend(
                SendPunch(address) if hole is None else SendPunch(address, ttl, hole, session)
                for address, ttl, hole in puncher.take_output(now)
            )
        if now >= session.deadline:
            self._expire(session, now)
        else:
            self._schedule(session)

    def close(self, now: float) -> None:
        """End the sessions of clients that have not arrived."""
        for session in list(self._sessions.under_way()):
            self._expire(session, now)

    def _wait(self, session: Session, deadline: float) -> None:
        session.deadline = max(session.deadline, deadline)
        self._schedule(session)

    def _schedule(self, session: Session) -> None:
        at = session.deadline
        if not session.over and session.puncher is not None:
            punch_at = session.puncher.next_deadline()
            if punch_at is not None and punch_at < at:
                at = punch_at
        session.wake = at
        heappush(self._timers, (at, next(self._order), session))

    def _stale(self, entry: tuple[float, int, Session]) -> bool:
        return entry[2].wake != entry[0] or self._sessions.at(entry[2].slot) is not entry[2]

    def _expire(self, session: Session, now: float) -> None:
        self._end(session, now, Step.EXPIRE)
        self._events.append(Expired(session))

    def _end(self, session: Session, now: float, step: Step) -> None:
        self._sessions.end(session, step)
        if session.puncher is not None:
            session.puncher.stop()
        if session.random:
            session.random = False
            self._random_punches.end(now)
        session.deadline = now + DISCARD_SECONDS
        self._schedule(session)


def _handshake_error(remote: NoisePayload) -> HandshakeStatus:
    if remote.version != VERSION:
        return HandshakeStatus.VERSION_MISMATCH
    usable = remote.udx is not None and remote.udx.usable
    return HandshakeStatus.NONE if usable else HandshakeStatus.ABORTED
