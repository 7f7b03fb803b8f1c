"""Handshakes started by clients: those under way, and those kept for repetitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from heapq import heappop, heappush
from itertools import islice

from ..errors import LocalProtocolError
from ..noise import HandshakeResult
from .address import Address
from .messages import NoisePayload, SecurePayload
from .punching import Puncher

MAX_HANDSHAKES = 1024
"""Awaited clients. Beyond it the oldest one of the relay with most of them is dropped. Ours."""
MAX_HANDSHAKES_PER_RELAY = 256
"""Of these, clients sent by one relay, which may have invented them. Counted by the relay's host, or the
client's own without a relay. Ours."""
MAX_PUNCHING_PER_HOST = 16
"""Newest clients of one host that are checked as senders of a single byte. Each allows some answers a second,
and the answer is the same for all of them. Ours."""
MAX_ANSWERS = 1024
"""Answers of connected clients that are kept for repetitions, and as many refusals. Ours."""


class Stage(Enum):
    """State of a handshake."""

    NEW = "new"
    AWAITED = "awaited"
    """Answered, or about to be: the client may arrive."""
    CONNECTED = "connected"
    REFUSED = "refused"
    EXPIRED = "expired"
    """The client did not arrive in time, or cannot."""


class Step(Enum):
    """Inputs of a handshake."""

    EXPECT = "expect"
    ARRIVE = "arrive"
    """The client's stream header has come."""
    REFUSE = "refuse"
    EXPIRE = "expire"


TRANSITIONS: Mapping[tuple[Stage, Step], Stage] = {
    (Stage.NEW, Step.EXPECT): Stage.AWAITED,
    (Stage.NEW, Step.REFUSE): Stage.REFUSED,
    (Stage.NEW, Step.EXPIRE): Stage.EXPIRED,
    (Stage.AWAITED, Step.ARRIVE): Stage.CONNECTED,
    (Stage.AWAITED, Step.REFUSE): Stage.REFUSED,
    (Stage.AWAITED, Step.EXPIRE): Stage.EXPIRED,
}
"""All transitions of a handshake; others raise LocalProtocolError. Of one that has ended, only the answer is
kept for a while."""

OVER = frozenset(Stage) - {stage for stage, _ in TRANSITIONS}
"""Final stages."""


@dataclass(slots=True, eq=False, kw_only=True)
class Session:
    """One handshake."""

    slot: int
    noise: bytes
    client: Address
    """Address of the client as it or its relay reports it."""
    remote_public_key: bytes = b""
    remote: NoisePayload | None = None
    result: HandshakeResult | None = None
    reply: bytes | None = None
    """The answer. None: refused without an answer."""
    stream_id: int = 0
    secure: SecurePayload | None = None
    puncher: Puncher | None = None
    hosts: frozenset[str] = frozenset()
    """Hosts from which its bytes may come, as the table has them."""
    relay: bool = False
    """Whether it may use a blind relay, also when punching fails."""
    punched: bool = False
    """Whether we have begun to punch."""
    random: bool = False
    """Whether it counts as a punch through a random NAT (MAX_RANDOM_PUNCHES)."""
    round: int = 0
    stage: Stage = Stage.NEW
    via: str = ""
    """Host that sent us the handshake: a relay's, or the client's own."""
    direct: bool = False
    """Whether the handshake came without a relay: a client that can use our answer receives at its
    address."""
    deadline: float = 0.0
    wake: float = 0.0
    """When the timer handles it next."""

    @property
    def over(self) -> bool:
        """Whether it is connected, refused or expired."""
        return self.stage in OVER

    @property
    def connected(self) -> bool:
        return self.stage is Stage.CONNECTED

    def move(self, step: Step) -> None:
        stage = TRANSITIONS.get((self.stage, step))
        if stage is None:
            raise LocalProtocolError(f"{step.value!r} of a handshake that is {self.stage.value}")
        self.stage = stage


class SessionTable:
    """All sessions of one server, by Noise message and by slot."""

    def __init__(self) -> None:
        self._by_noise: dict[bytes, Session] = {}
        self._by_slot: dict[int, Session] = {}
        self._free_slots: list[int] = []
        self._awaited: dict[str, dict[Session, None]] = {}
        """Sessions whose client may still arrive, by the host that sent them, the oldest first."""
        self._punching: dict[str, dict[Session, None]] = {}
        """Sessions whose client punches, by the hosts where it may be, the oldest first."""
        self._answered: dict[Session, None] = {}
        self._failed: dict[Session, None] = {}

    def __len__(self) -> int:
        return len(self._by_noise)

    @property
    def awaited(self) -> int:
        """Clients that may still arrive."""
        return sum(map(len, self._awaited.values()))

    def get(self, noise: bytes) -> Session | None:
        return self._by_noise.get(noise)

    def at(self, slot: int) -> Session | None:
        return self._by_slot.get(slot)

    def under_way(self) -> Iterator[Session]:
        """Sessions whose client may still arrive."""
        for sessions in self._awaited.values():
            yield from sessions

    def record_hosts(self, session: Session) -> None:
        """The possible hosts of the session's client have changed."""
        hosts = frozenset[str]() if session.over or session.puncher is None else session.puncher.hosts
        for host in session.hosts - hosts:
            sessions = self._punching[host]
            del sessions[session]
            if not sessions:
                del self._punching[host]
        for host in hosts - session.hosts:
            self._punching.setdefault(host, {})[session] = None
        session.hosts = hosts

    def punching_at(self, host: str) -> Iterator[Session]:
        """Sessions whose client may be at `host`, the newest first, MAX_PUNCHING_PER_HOST at most."""
        return islice(reversed(self._punching.get(host, {})), MAX_PUNCHING_PER_HOST)

    def add(self, noise: bytes, client: Address, via: str, *, direct: bool) -> Session:
        slot = heappop(self._free_slots) if self._free_slots else len(self._by_slot)
        session = Session(slot=slot, noise=noise, client=client, via=via, direct=direct)
        self._by_noise[noise] = self._by_slot[slot] = session
        return session

    def surplus(self, via: str) -> Session | None:
        """The session to end before another one from the host `via` is awaited; None if there is room.

        It is the oldest one of that host if it has its share, else of the host that sent most of them. For
        one of our relays it is one of the client with most of them.
        """
        if len(self._awaited.get(via, ())) >= MAX_HANDSHAKES_PER_RELAY:
            crowd = self._awaited[via]
        elif self.awaited >= MAX_HANDSHAKES:
            crowd = max(self._awaited.values(), key=len)
        else:
            return None
        [(host, _)] = Counter(session.client.host for session in crowd).most_common(1)
        return next(session for session in crowd if session.client.host == host)

    def expect(self, session: Session) -> None:
        """The session's client may arrive from now on."""
        session.move(Step.EXPECT)
        self._awaited.setdefault(session.via, {})[session] = None

    def end(self, session: Session, step: Step) -> None:
        """The session has ended; its answer is kept, up to MAX_ANSWERS."""
        session.move(step)
        self.record_hosts(session)
        awaited = self._awaited.get(session.via, {})
        if session in awaited:
            del awaited[session]
            if not awaited:
                del self._awaited[session.via]
        kept = self._answered if session.connected else self._failed
        kept[session] = None
        if len(kept) > MAX_ANSWERS:
            self.discard(next(iter(kept)))

    def discard(self, session: Session) -> None:
        (self._answered if session.connected else self._failed).pop(session, None)
        del self._by_noise[session.noise]
        del self._by_slot[session.slot]
        heappush(self._free_slots, session.slot)
