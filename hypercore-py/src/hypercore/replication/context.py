"""Protocol classes through which the parts of a replicator use it."""

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
        """Peers whose channels are open."""

    @property
    def downloading(self) -> bool: ...

    def apply(self, data: Data, /) -> Change:
        """Apply an answer to the core and notify all parts but the downloader. Raises VerificationError."""

    def apply_reorg(self, reorg: Reorg, /) -> Change:
        """Let the core adopt a fork, and notify as `apply` does."""

    def emit(self, event: Event, /) -> None: ...

    def bad_data(self, peer: PeerView, error: RemoteProtocolError, now: float, /) -> None:
        """The peer has sent too much bad data: back off this core at this peer.

        Raises `error` when the connection must be closed.
        """

    def wake_at(self, time: float, /) -> None:
        """Call `handle_timer` at that time at the latest."""


class Requester(Protocol):
    """The methods of the downloader for parts that send requests themselves."""

    requests: InflightTracker
    scheduler: Scheduler

    def window_of(self, peer: PeerView, /) -> int:
        """Requests that the peer may have in flight."""

    def ask_block(self, peer: PeerView, index: int, now: float, /, *, urgent: bool = False) -> None:
        """Request one block from one peer. Raises StorageError."""

    def try_head(self, peer: PeerView, now: float, /) -> None:
        """Send a request about the head, though such a request is suspected."""

    def could_ask_elsewhere(self, sent: InflightRequest, /) -> bool:
        """Whether another peer offers the head that `sent` requests."""

    def refused_head(self, peer: PeerView, now: float, /) -> None:
        """Send the peer no requests about its head for a while."""

    def cancel_requests(self, requests: list[InflightRequest], /) -> None:
        """Cancel requests, and offer their blocks to all peers."""


def arm_timer(context: ReplicatorContext, config: ReplicationConfig, now: float) -> None:
    """Set the timer for checks, before the first request is sent."""
    crowded = len(context.peers) > 1
    context.wake_at(now + (config.check_interval if crowded else config.request_timeout))
