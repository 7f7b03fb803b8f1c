"""Protocol classes: the core that a replicator needs, and the peer that its parts need.

`hypercore.core.Core` is such a core, over disk and over memory. The parts (downloader, uploader, …) import
this and `context`; only `peer` and `replicator` import the parts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..bitfield import Bitfield
from ..change import Change
from ..errors import StorageError
from ..manifest import Manifest
from ..merkle.head import TreeHead
from ..merkle.reorg import Reorg
from ..mux import Frame, Muxer
from ..node import Node
from ..wire.data import Data
from ..wire.request import Request
from .download_state import DownloadState
from .wants import RemoteWants

Listener = Callable[[Change], None]


class ReplicatedCore(Protocol):
    """A core: its head and blocks, which of them are durable, and proofs in both directions."""

    key: bytes

    @property
    def discovery_key(self) -> bytes:
        """The hash that names the core to peers, 32 bytes."""

    manifest: Manifest | None
    head: TreeHead

    @property
    def has_manifest(self) -> bool:
        """Whether the manifest is known and must be sent to peers; False for compat cores."""

    @property
    def durable_head(self) -> TreeHead:
        """The newest durable head. A local writer announces no newer one."""

    bitfield: Bitfield
    """Blocks present."""
    durable: Bitfield
    """Durable blocks. Only these are announced."""

    def add_listener(self, listener: Listener, /) -> None:
        """Call `listener` after every change."""

    def remove_listener(self, listener: Listener, /) -> None:
        """Call `listener` no more."""

    def node(self, index: int, /) -> Node | None:
        """Return a stored tree node, or None."""

    def missing_nodes(self, index: int, /) -> int:
        """Levels between block `index` and the first stored node above it."""

    def can_upgrade_from(self, length: int, /) -> bool:
        """Whether we have the nodes that a peer with `length` blocks needs for our head."""

    def prove(self, request: Request, /) -> Data:
        """The answer to a request. Raises InvalidRequest or BlockNotAvailable."""

    def apply(self, data: Data, /, *, applier: Listener | None = None) -> Change:
        """Verify and store an answer. All listeners but `applier` are notified. Raises VerificationError."""

    def start_reorg(self, data: Data, /) -> Reorg:
        """Verify the head of a higher fork. Raises VerificationError."""

    def apply_reorg(self, reorg: Reorg, /, *, applier: Listener | None = None) -> Change:
        """Adopt a fork. All listeners but `applier` are notified."""


class PeerStats:
    """Counters since the channel was opened."""

    __slots__ = ("blocks_down", "blocks_up", "bytes_down", "bytes_up", "timeouts")

    def __init__(self) -> None:
        self.blocks_up = 0
        self.blocks_down = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self.timeouts = 0


class PeerView(Protocol):
    """A peer as the parts of a replicator and the consumers of its events see it. Implemented by
    `peer.Peer`."""

    core: ReplicatedCore
    muxer: Muxer
    stats: PeerStats
    down: DownloadState
    """Requests to it, and their results."""
    synced: bool
    """Whether it has reported its head."""
    opened_at: float
    """When the peer opened its side of the channel."""
    remote_fork: int
    remote_length: int
    remote_can_upgrade: bool
    """Whether it can upgrade us from the length that it last acknowledged."""
    remote_uploading: bool
    remote_downloading: bool
    remote_has_manifest: bool
    length_acked: int
    """Our length as the peer last acknowledged it."""

    @property
    def opened(self) -> bool:
        """Whether the channel is open on both sides."""

    @property
    def rtt(self) -> float | None:
        """Round-trip time of the connection in seconds, if known."""

    @property
    def writable(self) -> bool:
        """Whether the connection has room for output."""

    @property
    def may_be_asked(self) -> bool:
        """Whether requests may be sent to it."""

    @property
    def ahead(self) -> bool:
        """Whether it reports a longer core (which it uploads) or a higher fork (which we follow or
        report)."""

    @property
    def head_not_durable(self) -> bool:
        """Whether our newest head is not durable and must not be sent yet."""

    @property
    def remote_wants(self) -> RemoteWants:
        """Its subscriptions."""

    def valid_end(self) -> int:
        """Length below which it can prove blocks to us."""

    def send(self, frame: Frame, /) -> None:
        """Send a message."""

    def send_request(self, frame: Frame, /) -> None:
        """Send a request, behind the messages that wait."""

    def send_data(self, frame: Frame, /) -> None:
        """Send the answer to a request, and count its bytes."""

    def mark_dirty(self) -> None:
        """Send pending messages and requests before the next output is taken."""

    def wait_writable(self) -> None:
        """Answer its requests when there is room for output."""

    def want(self, start: int, end: int, /) -> int:
        """Subscribe to announcements in start..end. Returns the end of the subscribed regions."""

    def want_around(self, index: int, /) -> None:
        """Subscribe to announcements in the region of a block of the peer's own history."""

    def storage_failed(self, error: StorageError, /) -> None:
        """A block that the peer requested cannot be read."""

    def close(self, now: float, /) -> None:
        """Close the channel. `now` is seconds of the monotonic clock."""
