"""Reports of a worker: heartbeat, replicas, samples, events, batched into one message."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta

from .blind_cores import MAX_BLIND_CORES, BlindCore
from .gaps import MAX_CORES, Gaps
from .message import Count, Digest, Key, Kind, Message, Name, Seconds, Tags, Text
from .tasks import Configure
from .traffic import MAX_PEER_LISTS, MAX_SERVED, PeerList, Served

MAX_REPLICAS = 500
"""Replicas in a report."""
MAX_EVENTS = 200
MAX_SAMPLES = 200
MAX_ENGINES = 64
"""Engines of which a heartbeat describes each; their sums are of all."""

Percent = Annotated[float, Meta(ge=0, le=100 * 1024)]
Load = Annotated[float, Meta(ge=0, le=1e6)]
Nat = Literal["open", "consistent", "random", "unknown"]
"""What a NAT does with ports (`hypercore.dht.constants.Firewall`)."""
Address = Annotated[str, Meta(max_length=60, pattern=r"^[0-9A-Fa-f.:\[\]]*\Z")]
"""IP address, and port if there is one; empty: not known."""


RunId = Annotated[str, Meta(max_length=32, pattern=r"^[0-9a-f]*\Z")]


class Phase(StrEnum):
    """The phase of a replica on its worker."""

    ASSIGNED = "assigned"
    """It is in the assignment, and no engine has it yet, or the worker is paused."""
    LOOKING = "looking"
    """No connected peer offers what is missing."""
    DOWNLOADING = "downloading"
    COMPLETE = "complete"
    """All blocks that any source has are on disk."""
    ERROR = "error"
    REMOVING = "removing"
    """It is no longer in the assignment; its blocks are being deleted."""
    REMOVED = "removed"


class HostStats(Message, frozen=True, kw_only=True):
    """The machine, as psutil reports it. Bytes and percent; rates in bytes a second since the last
    heartbeat."""

    cpu_percent: Percent
    load: Load
    """Of the last minute: processes that run or want to."""
    load_5: Load | None = None
    """Of five minutes; None: not known."""
    load_15: Load | None = None
    cores: Annotated[int, Meta(ge=1, le=4096)]
    memory_bytes: Count
    memory_used_bytes: Count
    disk_bytes: Count
    disk_free_bytes: Count
    """Of the file system that holds the data."""
    uptime: Seconds


class Reach(Message, frozen=True, kw_only=True):
    """The ways by which peers reach an engine, and it reaches the connected ones."""

    id: Key | None = None
    """Its public key. None: it does not run."""
    online: bool | None = None
    """Whether DHT nodes answer it. None: not reported yet."""
    nat: Nat = "unknown"
    address: Address = ""
    """As other nodes see it; without a port if each sees another one."""
    seen_by: Count = 0
    """Nodes that reported its address lately."""
    seen_same: Count = 0
    """Of those, nodes that agree with `address`."""
    direct: Count = 0
    """Connections that need no help."""
    punched: Count = 0
    """Connections through a hole in a NAT."""
    relayed: Count = 0
    """Connections through a blind relay."""


class OneEngine(Reach, frozen=True, kw_only=True):
    """One engine of a worker."""

    index: Annotated[int, Meta(ge=0, lt=1024)]
    running: bool
    hung: bool = False
    restarts: Count = 0


class BlindPeerStats(Message, frozen=True, kw_only=True):
    """A worker as a blind peer: what apps have it keep."""

    key: Key
    """Its public key, which apps name."""
    cores: Count = 0
    bytes: Count = 0
    """Of stored blocks."""
    clients: Count = 0
    """Apps that have named a core first."""
    announced: Count = 0
    """Cores that are announced."""
    order: Annotated[str, Meta(max_length=64)] | None = None
    """Version of the `BlindPeerOrder` that is in force; empty: none has come. None: a worker that takes
    none."""


class EngineStats(Message, frozen=True, kw_only=True):
    """Totals over the worker's engines."""

    running: bool
    shards: Annotated[int, Meta(ge=1, le=1024)]
    restarts: Count
    hung: Count = 0
    """Engines that run and have written no line for a minute."""
    hangs: Count = 0
    """How often an engine was killed for that since the worker started."""
    connections: Count
    firewalled: bool | None
    rss_bytes: Count
    stored_bytes: Count
    down_per_second: Annotated[float, Meta(ge=0, le=1e15)]
    up_per_second: Annotated[float, Meta(ge=0, le=1e15)]
    engines: Annotated[list[OneEngine], Meta(max_length=MAX_ENGINES)] = []
    """Each of them, as far as they fit."""
    blind_peer: BlindPeerStats | None = None
    """None: it is none, or its engine is silent."""


class Heartbeat(Message, frozen=True, kw_only=True):
    """The report of a worker about itself, in every interval."""

    at: Seconds
    name: Name
    zone: Annotated[str, Meta(max_length=100)] = ""
    tags: Tags = []
    software: Annotated[str, Meta(max_length=100)]
    assignment_version: Count
    assignment_digest: Digest
    quota_bytes: Count | None = None
    """Bytes that it may store. None: the disk's size less the headroom."""
    free_bytes: Count
    """Bytes that it can still store."""
    configured: Configure
    """The settings from control in force."""
    host: HostStats
    engine: EngineStats
    run: RunId = ""
    """Random id that a worker takes when it starts: two that alternate are two machines with one key. Empty:
    not known."""


class ReplicaFacts(Message, frozen=True, kw_only=True):
    """The facts about a replica that an engine has and control stores. This is the one list of these fields:
    the engine's status inherits them, the agent passes them on, and control has columns for them (see
    `registry.reported`)."""

    length: Count = 0
    """Blocks of the core that the key names: the version of a bee or drive."""
    fork: Count = 0
    blocks: Count = 0
    """Blocks of all its cores."""
    have_blocks: Count = 0
    bytes: Count = 0
    have_bytes: Count = 0
    unavailable_blocks: Count = 0
    """Missing blocks that no peer is known to have; 0 until that is decided. A replica that lacks no others
    is `complete`."""
    unavailable_bytes: Count = 0
    gaps: Annotated[Gaps, Meta(max_length=MAX_CORES)] = ()
    """Missing blocks of each core. Empty for a whole replica, and while it is downloaded."""
    peers: Count = 0
    error: Text = ""
    attempts: Count = 0
    """Errors since the engine started."""
    title: Annotated[str, Meta(max_length=200)] = ""
    writer_seen_at: Seconds | None = None
    """When a writer last appended while the replica was complete: it was online."""
    files: Count | None = None
    """Files and links of a drive. None: not counted, or too many to count."""
    file_bytes: Count | None = None
    """Bytes of these files. None: not known."""
    files_version: Count = 0
    """Length at which they were counted."""


class ReplicaStatus(ReplicaFacts, frozen=True, kw_only=True):
    """A replica as its engine describes it to the agent."""

    key: Key
    phase: Phase
    kind: Kind | None = None


class ReplicaReport(ReplicaStatus, frozen=True, kw_only=True):
    """The status of a replica at one moment, as control gets it."""

    observed_at: Seconds


class Sample(Message, frozen=True, kw_only=True):
    """Counters over a span of time, sent later if the worker was disconnected."""

    start: Seconds
    seconds: Annotated[float, Meta(gt=0, le=86400)]
    bytes_in: Count
    bytes_out: Count
    cpu_percent: Percent
    memory_used_bytes: Count
    disk_free_bytes: Count
    stored_bytes: Count
    peers: Count


class WorkerEvent(Message, frozen=True, kw_only=True):
    """An event for the flight recorder."""

    at: Seconds
    code: Annotated[str, Meta(min_length=1, max_length=50)]
    key: Key | None = None
    text: Text = ""


class Report(Message, frozen=True, kw_only=True):
    """A report to control; each part may be absent."""

    heartbeat: Heartbeat | None = None
    replicas: Annotated[list[ReplicaReport], Meta(max_length=MAX_REPLICAS)] = []
    samples: Annotated[list[Sample], Meta(max_length=MAX_SAMPLES)] = []
    events: Annotated[list[WorkerEvent], Meta(max_length=MAX_EVENTS)] = []
    served: Annotated[list[Served], Meta(max_length=MAX_SERVED)] = []
    peers: Annotated[list[PeerList], Meta(max_length=MAX_PEER_LISTS)] = []
    """Of watched drives."""
    blind_cores: Annotated[list[BlindCore], Meta(max_length=MAX_BLIND_CORES)] = []
    """What its blind peer keeps, or keeps no longer."""
