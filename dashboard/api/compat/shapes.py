"""The shapes of answers. Format: permanent-seeder 1.0.11, packages/sdk and packages/database.

Times are milliseconds since 1970, keys hex. A status is computed from the copies as they are now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from seederfarm.registry.models import Drive, Event, Replica
from seederfarm.registry.queries import whole_key

from ...reads.peers import WAYS
from ...reads.peers import Peer as Connected

RECENT: Final = timedelta(hours=24)
"""How long a drive is `recentlyAdded`. There it is until the first request. Ours."""

MAX_PEERS: Final = 100
"""Connections of the network. Ours."""
WAY_OF: Final = {words: way for way, words in WAYS.items()}

Status = Literal["WAITING", "DOWNLOADING", "SEEDING"]


class Camel(BaseModel):
    """Fields in camel case, as there."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Size(Camel):
    """Blocks and bytes of all cores of a drive, and those that the fullest copy has."""

    blocks: int
    bytes: int
    downloaded_blocks: int
    downloaded_bytes: int


class Peer(Camel):
    """A connection."""

    remote_address: str = Field(description="Its public key, as there since 1.0.6.")
    uploaded_bytes: int = Field(description="Of blocks, since it connected.")
    uploaded_blocks: int | None = Field(description="Null: not counted.")
    downloaded_bytes: int
    downloaded_blocks: int | None = Field(description="Null: not counted.")


class SwarmPeer(Camel):
    """A connection of a worker. Bytes are those of blocks of drives that are looked at, since it began."""

    remote_address: str = Field(description="Its public key.")
    type: str = Field(description="`direct`, `punched` or `relayed`.")
    bytes_sent: int
    bytes_received: int


class FileStats(Camel):
    """A file."""

    blocks: int
    size: int
    downloaded_blocks: int


class Info(Camel):
    """The version and title of a drive."""

    version: int | None = Field(None, description="Absent: not seen yet.")
    index_json: dict[str, Any] = Field(
        {}, alias="indexJSON", description="Its title, where the publisher gives one."
    )


class Record(Camel):
    """A drive."""

    key: str
    stats: dict[str, FileStats] = Field(description="By path. Empty: the farm keeps no list of files.")
    size: Size
    peers: list[Peer]
    info: Info
    seeding_status: Status
    updated_at: int
    created_at: int
    recently_added: bool


class Disk(Camel):
    """Bytes of disk."""

    directory: int = Field(description="Bytes of content on all workers.")
    free: int


class HostStats(Camel):
    """Totals of the machines of workers that are online."""

    cpu: float = Field(description="Percent.")
    mem: float = Field(description="Percent.")
    uptime: int = Field(description="Seconds since the last start of any.")
    loadavg: list[float] = Field(description="For each core: of 1, 5 and 15 minutes.")
    disk: Disk


class SwarmStats(Camel):
    """How the network is reached."""

    holepunchable: bool = Field(description="Peers reach a worker directly or through a hole.")
    bootstrapped: bool
    remote_address: str
    current_peers: list[SwarmPeer] = Field(description="Of drives whose page is open: 100 at most.")


class NetworkStats(Camel):
    """The network of the farm."""

    online: bool
    swarm: SwarmStats


class RawEvent(Camel):
    """An event of a drive."""

    key: str
    timestamp: int
    event: str
    text: str


def milliseconds(at: datetime) -> int:
    """Milliseconds since 1970."""
    return int(at.timestamp() * 1000)


def size_of(drive: Drive, copies: Sequence[Replica]) -> Size:
    """Return blocks and bytes of a drive. `copies`: its wanted copies."""
    fullest = max(copies, key=lambda copy: copy.have_bytes, default=None)
    blocks = max((copy.total_blocks for copy in copies), default=0)
    return Size(
        blocks=blocks or drive.length or 0,
        bytes=drive.byte_length or 0,
        downloaded_blocks=0 if fullest is None else fullest.have_blocks,
        downloaded_bytes=0 if fullest is None else fullest.have_bytes,
    )


def status_of(drive: Drive, copies: Sequence[Replica]) -> Status:
    """Return the status of a drive. SEEDING: a copy has all of the newest version, has proven it and is
    online."""
    if drive.counted:
        return "SEEDING"
    return "DOWNLOADING" if any(copy.have_blocks for copy in copies) else "WAITING"


def info_of(drive: Drive) -> Info:
    """Return the newest known version of a drive, and its title."""
    return Info(version=drive.length, indexJSON={"title": drive.title} if drive.title else {})


def peer_of(peer: Connected) -> Peer:
    """Return the record of a peer."""
    return Peer(
        remote_address=whole_key(peer.id) or peer.id,
        uploaded_bytes=peer.bytes_out,
        uploaded_blocks=None,
        downloaded_bytes=peer.bytes_in,
        downloaded_blocks=None,
    )


def swarm_peers(found: Sequence[Connected]) -> list[SwarmPeer]:
    """Return the connections that peers of drives share, the busiest first."""
    joined: dict[tuple[int, str], SwarmPeer] = {}
    for peer in found:
        way = WAY_OF.get(peer.way, "")
        new = SwarmPeer(
            remote_address=whole_key(peer.id) or peer.id, type=way, bytes_sent=0, bytes_received=0
        )
        connection = joined.setdefault((peer.worker.pk, peer.id), new)
        connection.bytes_sent += peer.bytes_out
        connection.bytes_received += peer.bytes_in
    busiest = sorted(joined.values(), key=lambda each: each.bytes_sent + each.bytes_received, reverse=True)
    return busiest[:MAX_PEERS]


def record_of(drive: Drive, copies: Sequence[Replica], now: datetime, peers: Sequence[Peer] = ()) -> Record:
    """Return the record of a drive. `copies`: its wanted copies."""
    return Record(
        key=drive.key,
        stats={},
        size=size_of(drive, copies),
        peers=list(peers),
        info=info_of(drive),
        seeding_status=status_of(drive, copies),
        updated_at=milliseconds(drive.updated_at),
        created_at=milliseconds(drive.created_at),
        recently_added=drive.created_at > now - RECENT,
    )


def raw_of(event: Event, key: str) -> RawEvent:
    """Return the record of an event. `key`: hex, of its drive."""
    return RawEvent(key=key, timestamp=milliseconds(event.at), event=event.kind, text=event.text)
