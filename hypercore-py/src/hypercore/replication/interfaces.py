"""What a replicator needs of a core, and what its parts need of a peer.

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
    """What is true of the core (`head`, `bitfield`) and what of it is durable; proofs out, and proofs in."""

    key: bytes

    @property
    def discovery_key(self) -> bytes: ...

    manifest: Manifest | None
    head: TreeHead

    @property
    def has_manifest(self) -> bool:
        """The manifest is known and has to be sent to others: not so for compat cores."""

    @property
    def durable_head(self) -> TreeHead:
        """The newest durable head. A local writer announces no newer one."""

    bitfield: Bitfield
    """Blocks present."""
    durable: Bitfield
    """Those of them that a crash cannot take away. Only these are announced."""

    def add_listener(self, listener: Listener, /) -> None:
        """Have `listener` called after every change."""

    def remove_listener(self, listener: Listener, /) -> None: ...

    def node(self, index: int, /) -> Node | None: ...

    def missing_nodes(self, index: int, /) -> int:
        """Levels between block `index` and the first stored node above it."""

    def can_upgrade_from(self, length: int, /) -> bool:
        """Whether we hold what a peer of `length` blocks needs to follow us."""

    def prove(self, request: Request, /) -> Data:
        """Raises InvalidRequest or BlockNotAvailable."""

    def apply(self, data: Data, /, *, applier: Listener | None = None) -> Change:
        """Verify an answer and take it in. All listeners but `applier` are notified. Raises
        VerificationError."""

    def start_reorg(self, data: Data, /) -> Reorg:
        """Raises VerificationError."""

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
    """A peer as the parts of a replicator, and those who take its events, know it. `peer.Peer` is the only
    one."""

    core: ReplicatedCore
    muxer: Muxer
    stats: PeerStats
    down: DownloadState
    """What it is asked for, and what came of it."""
    synced: bool
    """It has reported its head."""
    opened_at: float
    """When its side of the channel was open."""
    remote_fork: int
    remote_length: int
    remote_can_upgrade: bool
    """It can upgrade us from the length that it believes to be ours."""
    remote_uploading: bool
    remote_downloading: bool
    remote_has_manifest: bool
    length_acked: int
    """What it believes our length to be."""

    @property
    def opened(self) -> bool:
        """Whether the channel is open on both sides."""

    @property
    def rtt(self) -> float | None:
        """Round-trip time of the connection in seconds, if known."""

    @property
    def writable(self) -> bool: ...

    @property
    def may_be_asked(self) -> bool:
        """Whether requests may be sent to it."""

    @property
    def ahead(self) -> bool:
        """Whether it says that it knows of more than we do, and would give it."""

    @property
    def head_not_durable(self) -> bool:
        """Whether our newest head must not be shown yet."""

    @property
    def remote_wants(self) -> RemoteWants:
        """What it has subscribed to."""

    def valid_end(self) -> int:
        """Blocks below this it can prove to us, if it has them."""

    def send(self, frame: Frame, /) -> None: ...

    def send_request(self, frame: Frame, /) -> None: ...

    def send_data(self, frame: Frame, /) -> None: ...

    def mark_dirty(self) -> None:
        """Before the next output is taken, send pending messages and make requests."""

    def wait_writable(self) -> None:
        """Have its requests answered when there is room for output."""

    def want(self, start: int, end: int, /) -> int:
        """Subscribe to news about start..end. Returns where the regions that are subscribed to now end."""

    def want_around(self, index: int, /) -> None:
        """Subscribe to news about the region of a block of the peer's own history."""

    def storage_failed(self, error: StorageError, /) -> None:
        """What the peer asked for cannot be read."""

    def close(self, now: float, /) -> None: ...
