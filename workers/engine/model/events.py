"""Events of the engine: one dataclass an event, and its JSON line.

The lines are a contract with other programs (docs/cli.md lists them): fields may be added, never renamed or
removed. Keys are 64 hex digits in JSON.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Literal, get_args

from hypercore.printable import json_text

from .kind import Kind, Role

LimitName = Literal["disk", "down", "up", "peers", "files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The engine is on the network."""

    event: ClassVar[str] = "ready"

    public_key: bytes
    """Our public key."""
    host: str
    """Our address as the DHT sees it, once known; before that, the bound one."""
    port: int
    firewalled: bool
    bootstrap: tuple[str, ...]
    blind_peer: bytes | None = None
    """The key under which apps reach this blind peer; None if it is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreChanged:
    """A core of a key is known, or has a new head. A drive has two."""

    event: ClassVar[str] = "core"

    key: bytes
    core: bytes
    role: Role
    length: int
    fork: int
    byte_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Blocks and bytes of a key, stored and known, summed over its cores."""

    event: ClassVar[str] = "progress"

    key: bytes
    kind: Kind | None
    """None until it is detected."""
    blocks: int
    have_blocks: int
    bytes: int
    have_bytes: int
    peers: int
    unavailable_blocks: int = 0
    """Missing blocks that no peer is known to have; 0 until that is decided."""
    unavailable_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """Every available block of every core of the key is on disk and flushed."""

    event: ClassVar[str] = "synced"

    key: bytes
    kind: Kind
    version: int
    """Length of the core that the key names. For a bee or a drive, that is its version."""
    length: int
    """Blocks of all cores of the key."""
    bytes: int
    unavailable_blocks: int = 0
    unavailable_bytes: int = 0
    news: bool = True
    """False: it was complete when the engine started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A folder was scanned for the first time, or its changes are in its drive, on disk and announced."""

    event: ClassVar[str] = "published"

    key: bytes
    version: int
    files: int
    """Files and links in the drive."""
    bytes: int
    """Their size."""
    added: int
    changed: int
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerChanged:
    """A peer started or stopped replicating the key."""

    event: ClassVar[str] = "peer"

    key: bytes
    peer: bytes
    state: Literal["open", "close"]
    bytes_in: int
    """Bytes of verified blocks received from the peer for this key, so far."""
    bytes_out: int
    """Bytes of blocks sent to the peer for this key, so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error; `key` is None if it is about the whole engine."""

    event: ClassVar[str] = "error"

    key: bytes | None
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChanged:
    """No node of the DHT answers, or one does again."""

    event: ClassVar[str] = "network"

    state: Literal["reached", "unreachable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChanged:
    """A limit takes effect, or no longer does."""

    event: ClassVar[str] = "limit"

    limit: LimitName
    state: Literal["reached", "cleared"]
    value: int
    """Amount used, in the unit of the limit."""
    max: int
    """Amount allowed; 0 if the limit was removed."""
    text: str = ""
    """`disk`: free and reserved space, for people, where that and no quota is the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forked:
    """The writer rewrote a core: it signed a higher fork, which shares a prefix with the previous one, or
    nothing."""

    event: ClassVar[str] = "fork"

    key: bytes
    core: bytes
    state: Literal["followed", "quarantined"]
    """Whether we switched to it, or keep the old history until an operator decides."""
    fork: int
    """The previous fork."""
    length: int
    new_fork: int
    new_length: int
    """Blocks of the new fork that were proven by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindCoreChanged:
    """A core that a client of the blind peer has named: it is recorded, all of it is on disk, its content
    made way for others, or a trusted client deleted it."""

    event: ClassVar[str] = "blind_core"

    core: bytes
    state: Literal["added", "complete", "collected", "deleted"]
    client: bytes
    """Public key of the client that named it first."""
    priority: int
    announce: bool
    length: int
    """Its durable length."""
    bytes: int
    """Bytes of its stored blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Load of the engine; every few seconds."""

    event: ClassVar[str] = "stats"

    connections: int
    max_stall_ms: float
    """Longest time in milliseconds, since the last such event, in which the loop did nothing else."""
    max_busy_ms: float
    """Of that, milliseconds of the engine's own work; the rest was waiting for disk or processor."""


Event = (
    Ready
    | CoreChanged
    | Progress
    | Synced
    | Published
    | PeerChanged
    | Problem
    | NetworkChanged
    | LimitChanged
    | Forked
    | BlindCoreChanged
    | Stats
)


_FIELDS = {
    event_type.event: tuple(field.name for field in dataclasses.fields(event_type))
    for event_type in get_args(Event)
}


def to_json(event: Event) -> str:
    """The event as one line of JSON, without the line end."""
    fields: dict[str, object] = {"event": event.event}
    for name in _FIELDS[event.event]:
        value = getattr(event, name)
        if isinstance(value, bytes):
            value = value.hex()
        elif isinstance(value, Enum):
            value = value.value
        fields[name] = value
    return json_text(fields)
