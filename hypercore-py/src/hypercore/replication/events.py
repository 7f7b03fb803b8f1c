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
    """A channel that was open is not any more: the connection ended, or one side had enough."""

    peer: PeerView


class PeerDeclined(NamedTuple):
    """A connected peer has rejected the channel: it does not have the core."""

    remote_public_key: bytes


class Upgraded(NamedTuple):
    """The core has grown; its new head is verified."""

    length: int
    fork: int


class BlockReceived(NamedTuple):
    """A block was verified and is stored, though perhaps not yet durable."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    size: int
    peer: PeerView


class ManifestReceived(NamedTuple):
    """The manifest of the core became known."""


class Reorged(NamedTuple):
    """The writer's new history was adopted: blocks from `ancestors` on are others, or gone."""

    fork: int
    length: int
    ancestors: int


class UpgradeAvailable(NamedTuple):
    """A peer reports more than we have, while we are not downloading. Nothing of it is verified.

    Emitted with every such `sync`: a caller that wants it downloads from then on.
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
    """A peer broke a rule. With `fatal`, its channel is closed: the connection is not worth keeping."""

    peer: PeerView
    error: RemoteProtocolError
    fatal: bool


class BackedOff(NamedTuple):
    """A request of this core rests for this peer, so that everything else continues."""

    remote_public_key: bytes
    reason: str
    """For people."""
    seconds: float


class Conflict(NamedTuple):
    """The writer has signed two histories of the same fork. The core is frozen: nothing more of it is
    fetched, and what is here is served."""

    peer: PeerView
    proof: Data
    """Whole tree of the other history, with its signature."""


class StorageFailed(NamedTuple):
    """The store could not read or take what was needed. Peers are asked again after a pause."""

    error: StorageError


Event = (
    PeerOpened
    | PeerClosed
    | PeerDeclined
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
