"""How things stand, for people: plain values, derived from the cores at the moment of asking."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from farmwire.gaps import Gaps

from .events import LimitName
from .kind import Kind


class State(Enum):
    """What a key is doing, in words for a screen."""

    LOOKING = "looking for peers"
    """Nothing is known of it yet, and nobody was found who has it."""
    ASKING = "asking peers"
    """Somebody is there; what they have is not known yet."""
    DOWNLOADING = "downloading"
    WAITING = "waiting for peers"
    """Part of it is here, and no peer that is connected has more."""
    FLUSHING = "writing to disk"
    """All of it is here, not all of it on disk."""
    CHECKING = "checking"
    """All that is known of it is on disk; whether there is a second core to it will show in a moment."""
    SYNCED = "synced"
    """All of it is here, except for what nobody is known to have."""
    HELD = "no room"
    """Part of it is here, and there is no room for the rest."""
    TOO_LARGE = "too many blocks"
    """It has more blocks than are allowed; what is here is served."""
    FAILED = "failed"
    """It stopped; an error event has said why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedStatus:
    """One key."""

    key: bytes
    kind: Kind | None
    state: State
    version: int
    blocks: int
    have_blocks: int
    bytes: int
    have_bytes: int
    unavailable_blocks: int = 0
    """Missing blocks that nobody is known to have. 0 as long as that is not decided."""
    unavailable_bytes: int = 0
    gaps: Gaps = ()
    """Which blocks are missing, where nothing is being downloaded."""
    peers: int
    bytes_in: int
    """Bytes of blocks received since the engine started."""
    bytes_out: int
    quarantined: int | None = None
    """A higher fork that we do not follow."""
    down: float
    """Bytes a second, lately."""
    up: float

    @property
    def fraction(self) -> float | None:
        """How much of the known bytes is here, 0.0 to 1.0; None when nothing is known."""
        if self.bytes:
            # Rounded down by nature: 1.0 means all of it.
            return self.have_bytes / self.bytes if self.have_blocks < self.blocks else 1.0
        return None if self.blocks == 0 else self.have_blocks / self.blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitStatus:
    """One limit that the engine has."""

    limit: LimitName
    value: float
    """Bytes stored; bytes a second, lately; connections; files."""
    max: int
    reached: bool
    """It holds the engine back, or did so moments ago."""
    text: str = ""
    """What to show a person in place of the numbers, if anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """The engine and all its keys."""

    public_key: bytes
    host: str
    port: int
    firewalled: bool
    announcing: bool
    connections: int
    uptime: float
    seeds: tuple[SeedStatus, ...]
    """All keys, or those alone that somebody wants to see."""
    unseen: int = 0
    """Other keys. Those are synced, and nothing happens to them."""

    limits: tuple[LimitStatus, ...] = ()

    @property
    def keys(self) -> int:
        return len(self.seeds) + self.unseen

    @property
    def synced(self) -> int:
        return self.unseen + sum(seed.state is State.SYNCED for seed in self.seeds)

    @property
    def down(self) -> float:
        return sum(seed.down for seed in self.seeds)

    @property
    def up(self) -> float:
        return sum(seed.up for seed in self.seeds)


def state_of(
    *, blocks: int, have_blocks: int, complete: bool, durable: bool, synced: bool, peers: int, offered: bool
) -> State:
    """The word for these numbers. `complete`: nothing known is missing; `durable`: nor from the disk;
    `offered`: some peer has blocks that are missing."""
    if synced:
        return State.SYNCED
    if complete:
        return State.CHECKING if durable else State.FLUSHING
    if not peers:
        return State.WAITING if blocks else State.LOOKING
    if have_blocks >= blocks:
        return State.ASKING
    return State.DOWNLOADING if offered else State.WAITING
