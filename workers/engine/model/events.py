"""What the engine tells: one dataclass an event, and its JSON line.

The lines are a contract with other programs (docs/cli.md lists them): fields may be added, never renamed or
removed. Keys are 64 hex digits in JSON.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Literal

from hypercore.printable import json_text

from .kind import Kind, Role

LimitName = Literal["disk", "down", "up", "peers", "files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The engine is on the network."""

    event: ClassVar[str] = "ready"

    public_key: bytes
    """Who we are to peers."""
    host: str
    """The address as the DHT sees it, once it is known; before that, the one we are bound to."""
    port: int
    firewalled: bool
    bootstrap: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreChanged:
    """A core of a key is known, or has a new head. A key that is a drive has two."""

    event: ClassVar[str] = "core"

    key: bytes
    core: bytes
    role: Role
    length: int
    fork: int
    byte_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How much of what is known of a key is here. Blocks and bytes are summed over its cores."""

    event: ClassVar[str] = "progress"

    key: bytes
    kind: Kind | None
    """None until it is seen."""
    blocks: int
    have_blocks: int
    bytes: int
    have_bytes: int
    peers: int
    unavailable_blocks: int = 0
    """Missing blocks that nobody is known to have; 0 as long as that is not decided."""
    unavailable_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """Every known block of every core of the key is on disk and flushed, except for those that nobody is
    known to have."""

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
    """False: it was complete already when the engine started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A folder was looked at for the first time, or what changed in it is in its drive, on disk and shown."""

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
    """A peer replicates the key, or does so no longer."""

    event: ClassVar[str] = "peer"

    key: bytes
    peer: bytes
    state: Literal["open", "close"]
    bytes_in: int
    """Bytes of verified blocks that came from the peer for this key, so far."""
    bytes_out: int
    """Bytes of blocks sent to the peer for this key, so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something went wrong; `key` is None when it is about the engine as a whole."""

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
    """A limit begins to hold the engine back, or does so no longer."""

    event: ClassVar[str] = "limit"

    limit: LimitName
    state: Literal["reached", "cleared"]
    value: int
    """How much is used, in the unit of the limit."""
    max: int
    """How much may be; 0 if there is no such limit any more."""
    text: str = ""
    """`disk`: how much is free and is kept free, for a person, where that and no quota is the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forked:
    """The writer has rewritten a core: it signed a higher fork, which shares only a beginning with the one
    before, or nothing."""

    event: ClassVar[str] = "fork"

    key: bytes
    core: bytes
    state: Literal["followed", "quarantined"]
    """Whether we have gone over to it, or keep what we have until somebody decides."""
    fork: int
    """What we had."""
    length: int
    new_fork: int
    new_length: int
    """Blocks of the new fork, as far as it was proven to us by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """How the engine itself is doing; every few seconds."""

    event: ClassVar[str] = "stats"

    connections: int
    max_stall_ms: float
    """Longest time since the last such event in which the engine could do nothing else."""
    max_busy_ms: float
    """Of that, what the engine itself worked; the rest was spent waiting for the disk or the processor."""


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
    | Stats
)


def to_json(event: Event) -> str:
    """The event as one line of JSON, without the line end."""
    fields: dict[str, object] = {"event": event.event}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if isinstance(value, bytes):
            value = value.hex()
        elif isinstance(value, Enum):
            value = value.value
        fields[field.name] = value
    return json_text(fields)
