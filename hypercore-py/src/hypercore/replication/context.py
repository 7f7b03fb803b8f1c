"""What the parts of a replicator need of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from ..change import Change
from ..errors import RemoteProtocolError
from ..merkle.reorg import Reorg
from ..wire.data import Data
from .config import ReplicationConfig
from .events import Event
from .fullness import Fullness
from .interfaces import PeerView
from .requests import InflightRequest, InflightTracker
from .scheduler import Scheduler
from .suspicion import Suspicions


class ReplicatorContext(Protocol):
    fullness: Fullness
    suspicions: Suspicions

    @property
    def peers(self) -> Collection[PeerView]:
        """Those whose channels are open."""

    @property
    def downloading(self) -> bool: ...

    def apply(self, data: Data, /) -> Change:
        """Take an answer into the core. What follows from it beside the download has happened when this
        returns. Raises VerificationError."""

    def apply_reorg(self, reorg: Reorg, /) -> Change:
        """Have the core adopt a fork, as `apply` does."""

    def emit(self, event: Event, /) -> None: ...

    def bad_data(self, peer: PeerView, error: RemoteProtocolError, now: float, /) -> None:
        """The peer has sent bad data once too often: do without it for this core, for a while.

        Raises the error when the whole connection is not worth keeping.
        """

    def wake_at(self, time: float, /) -> None:
        """Have the timer handled at that time at the latest."""


class Requester(Protocol):
    """What those that ask out of turn need of the downloader."""

    requests: InflightTracker
    scheduler: Scheduler

    def window_of(self, peer: PeerView, /) -> int:
        """Requests that the peer may have in flight."""

    def ask_block(self, peer: PeerView, index: int, now: float, /, *, urgent: bool = False) -> None:
        """Ask one peer for one block. Raises StorageError."""

    def try_head(self, peer: PeerView, now: float, /) -> None:
        """Ask for what there is to ask about the head, though a request for it is suspected."""

    def could_ask_elsewhere(self, sent: InflightRequest, /) -> bool:
        """Whether some other peer could be asked for the head that `sent` asks for."""

    def refused_head(self, peer: PeerView, now: float, /) -> None:
        """The peer is not asked about its head for a while."""

    def cancel_requests(self, requests: list[InflightRequest], /) -> None:
        """Take requests back, and offer what they were for to all peers."""


def arm_timer(context: ReplicatorContext, config: ReplicationConfig, now: float) -> None:
    """The first request is about to be sent: have the timer look after it."""
    crowded = len(context.peers) > 1
    context.wake_at(now + (config.check_interval if crowded else config.request_timeout))
