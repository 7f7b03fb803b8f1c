"""Status of the engine and its keys: plain values, derived from the cores on each call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from farmwire.report import ReplicaFacts

from .events import LimitName
from .kind import Kind


class State(Enum):
    """State of a key; the values are texts for people."""

    LOOKING = "looking for peers"
    """No core of the key is known, and no connected peer has it."""
    ASKING = "asking peers"
    """A peer is connected and has not reported what it has."""
    DOWNLOADING = "downloading"
    WAITING = "waiting for peers"
    """Part of it is stored, and no connected peer has more."""
    FLUSHING = "writing to disk"
    """All of it is received, not all of it on disk."""
    CHECKING = "checking"
    """All known blocks are on disk; whether it has a second core is not known yet."""
    SYNCED = "synced"
    """All available blocks are on disk."""
    HELD = "no room"
    """Part of it is stored, and there is no room for the rest."""
    TOO_LARGE = "too many blocks"
    """It has more blocks than allowed; stored ones are served."""
    FAILED = "failed"
    """It stopped; an error event gave the reason."""


class SeedStatus(ReplicaFacts, frozen=True, kw_only=True):
    """One key. `error`, `attempts`, `title` and `writer_seen_at` are known to its process alone (see
    `process.event_facts`)."""

    key: bytes
    kind: Kind | None
    state: State
    bytes_in: int
    """Bytes of blocks received since the engine started."""
    bytes_out: int
    quarantined: int | None = None
    """A higher fork that we do not follow."""
    down: float
    """Recent bytes a second."""
    up: float

    @property
    def fraction(self) -> float | None:
        """Part of the known bytes that is stored, 0.0 to 1.0; None if nothing is known."""
        if self.bytes:
            # Never rounded up: 1.0 means all of it.
            return self.have_bytes / self.bytes if self.have_blocks < self.blocks else 1.0
        return None if self.blocks == 0 else self.have_blocks / self.blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitStatus:
    """Status of one limit."""

    limit: LimitName
    value: float
    """Bytes stored; recent bytes a second; connections; files."""
    max: int
    reached: bool
    """Whether it takes effect, or did within the last seconds."""
    text: str = ""
    """Text to show instead of the numbers, if any."""


class BlindPeerStatus(NamedTuple):
    """Totals of the cores that a blind peer keeps for clients."""

    cores: int
    bytes: int
    """Bytes of the stored blocks."""
    clients: int
    """Clients that have named a core first."""
    announced: int = 0
    """Cores that are announced."""
    connections: int = 0
    """Of clients and of readers."""
    counters: Mapping[str, int] = MappingProxyType({})
    """Since the start, by name (see `BlindPeer.counters`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """The engine and its keys."""

    public_key: bytes
    host: str
    port: int
    firewalled: bool
    announcing: bool
    connections: int
    uptime: float
    seeds: tuple[SeedStatus, ...]
    """All keys, or those that were requested."""
    unseen: int = 0
    """Number of other keys. They are synced and idle."""

    limits: tuple[LimitStatus, ...] = ()
    blind_peer: BlindPeerStatus | None = None
    """None if it is no blind peer."""

    @property
    def keys(self) -> int:
        """Number of keys."""
        return len(self.seeds) + self.unseen

    @property
    def synced(self) -> int:
        """Number of keys with every available block on disk."""
        return self.unseen + sum(seed.state is State.SYNCED for seed in self.seeds)

    @property
    def down(self) -> float:
        """Bytes of blocks received a second, over all keys."""
        return sum(seed.down for seed in self.seeds)

    @property
    def up(self) -> float:
        """Bytes of blocks sent a second, over all keys."""
        return sum(seed.up for seed in self.seeds)


def state_of(
    *, blocks: int, have_blocks: int, complete: bool, durable: bool, synced: bool, peers: int, offered: bool
) -> State:
    """The state for these numbers. `complete`: no available block is missing; `durable`: all are on disk;
    `offered`: a peer has missing blocks."""
    if synced:
        return State.SYNCED
    if complete:
        return State.CHECKING if durable else State.FLUSHING
    if not peers:
        return State.WAITING if blocks else State.LOOKING
    if have_blocks >= blocks:
        return State.ASKING
    return State.DOWNLOADING if offered else State.WAITING
