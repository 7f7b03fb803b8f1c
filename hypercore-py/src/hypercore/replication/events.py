"""Events of a replicator, returned by `Replicator.next_event`."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import RemoteProtocolError, StorageError
from ..wire.data import Data
from .interfaces import PeerView


class PeerOpened(NamedTuple):
    """Both sides have opened the channel, and the peer knows the key."""

    peer: PeerView


class PeerClosed(NamedTuple):
    """An open channel was closed: the connection ended, or one side closed it."""

    peer: PeerView


class PeerDeclined(NamedTuple):
    """A connected peer has rejected the channel: it does not have the core."""

    remote_public_key: bytes


class PeerReported(NamedTuple):
    """A peer reported what it has, wants or refuses: `Fullness.review` may decide otherwise. At most one in
    `fullness.CHECK_INTERVAL`."""


class Upgraded(NamedTuple):
    """The core has grown; its new head is verified."""

    length: int
    fork: int


class BlockReceived(NamedTuple):
    """A block was verified and stored; it may not be durable yet."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    size: int
    peer: PeerView


class ManifestReceived(NamedTuple):
    """The manifest of the core became known."""


class Reorged(NamedTuple):
    """The writer's new history was adopted: blocks from `ancestors` on are replaced or deleted."""

    fork: int
    length: int
    ancestors: int


class UpgradeAvailable(NamedTuple):
    """A peer reports a longer core while we are not downloading. The report is not verified.

    Emitted with every such `sync`. A caller that wants the blocks starts to download.
    """

    peer: PeerView
    fork: int
    length: int


class ForkAvailable(NamedTuple):
    """A peer has proven that the writer signed a higher fork, above `max_fork`. Emitted once per fork."""

    peer: PeerView
    fork: int
    length: int


class PeerMisbehaved(NamedTuple):
    """A peer violated the protocol. With `fatal`, its channel is closed and the connection should be."""

    peer: PeerView
    error: RemoteProtocolError
    fatal: bool


class BackedOff(NamedTuple):
    """A request for this core rests at this peer, so that other requests continue."""

    remote_public_key: bytes
    reason: str
    """A sentence for people."""
    seconds: float


class Conflict(NamedTuple):
    """The writer has signed two histories of one fork. The core is frozen: it fetches nothing more and serves
    its stored blocks."""

    peer: PeerView
    proof: Data
    """Whole tree of the other history, with its signature."""


class StorageFailed(NamedTuple):
    """The store could not read or write. Requests continue after a pause."""

    error: StorageError


Event = (
    PeerOpened
    | PeerClosed
    | PeerDeclined
    | PeerReported
    | Upgraded
    | BlockReceived
    | ManifestReceived
    | Reorged
    | UpgradeAvailable
    | ForkAvailable
    | PeerMisbehaved
    | BackedOff
    | Conflict
    | StorageFailed
)
