"""One peer of one core: its channel, its reports, and the messages sent to it.

Protocol: hypercore lib/replicator.js `Peer` (11.37.1). After both have opened the channel, each reports its
head and blocks (`sync`, `range`); from then on every message answers an event. `sync` carries the *other's*
length as last reported. That is an acknowledgement, and official peers follow only peers that send it.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from typing import Protocol

from ..codec import Reader, Writer
from ..errors import InvalidCapability, RemoteProtocolError, StorageError, VerificationError
from ..mux import Channel, CloseReason, Frame, Muxer
from ..wire.control import BitfieldMessage, Cancel, NoData, Range, Sync, Unwant, Want
from ..wire.data import Data
from ..wire.handshake import ChannelHandshake, capability
from .block_announcer import BlockAnnouncer
from .config import ReplicationConfig
from .context import ReplicatorContext
from .download_state import DownloadState
from .downloader import Downloader
from .events import StorageFailed, UpgradeAvailable
from .field_budget import FieldBudget
from .interfaces import PeerStats, ReplicatedCore
from .ratelimit import RateLimit
from .upgrades import UpgradeRequester
from .uploader import Uploader
from .wants import RemoteWants

PROTOCOL = "hypercore/alpha"
ALIAS = "hypercore"


class PeerHost(ReplicatorContext, Protocol):
    """The members of a replicator that a peer uses."""

    core: ReplicatedCore
    config: ReplicationConfig
    downloader: Downloader
    upload: RateLimit
    download: RateLimit
    fields: FieldBudget

    @property
    def busy(self) -> bool:
        """Whether there are blocks to download. A channel that neither side needs is closed."""

    @property
    def head_not_durable(self) -> bool:
        """Whether the newest head is of a local writer and not durable, so that it must not be sent yet."""

    @property
    def frozen(self) -> bool: ...

    def check_busy(self, now: float) -> None: ...

    def set_waiting_for_upgrade(self, peer: Peer, behind: bool) -> None:
        """Mark the peer dirty when blocks come, since they may let us upgrade it."""

    def peer_opened(self, peer: Peer, now: float) -> None: ...

    def peer_closed(self, peer: Peer, reason: CloseReason, now: float) -> None: ...


class Peer:
    """The handler of one `hypercore/alpha` channel. Made by `Replicator.attach`."""

    __slots__ = (
        "_head_stale",
        "_host",
        "_last_fork",
        "_last_length",
        "_sync_pending",
        "announcer",
        "behind",
        "can_upgrade",
        "channel",
        "core",
        "down",
        "length_acked",
        "muxer",
        "opened_at",
        "remote_can_upgrade",
        "remote_downloading",
        "remote_fork",
        "remote_has_manifest",
        "remote_length",
        "remote_uploading",
        "stats",
        "synced",
        "uploader",
    )

    def __init__(self, host: PeerHost, muxer: Muxer) -> None:
        self._host = host
        self.core = host.core
        self.muxer = muxer
        self.channel: Channel = muxer.create_channel(PROTOCOL, self.core.discovery_key, self)
        self.stats = PeerStats()
        self.down = DownloadState(host.config, host.fields)
        self.announcer = BlockAnnouncer(self.core, self.send)
        self.uploader = Uploader(self, self.announcer, host.upload)
        self.synced = False
        """Whether it has reported its head."""
        self.opened_at = 0.0
        """When the peer opened its side of the channel."""
        self.remote_fork = 0
        self.remote_length = 0
        self.remote_can_upgrade = False
        """Whether it can upgrade us from the length that it last acknowledged."""
        self.remote_uploading = True
        self.remote_downloading = True
        self.remote_has_manifest = False
        self.length_acked = 0
        """Our length as the peer last acknowledged it."""
        self.can_upgrade = False
        """Whether we can upgrade it from its length, so that it shares our history up to there."""
        self.behind = False
        """Whether it is shorter than we are and we cannot upgrade it, since we still lack nodes of its
        roots."""
        self._last_fork = 0
        self._last_length = 0
        """Its last length, and fork, from which we could upgrade it."""
        self._sync_pending = False
        self._head_stale = False
        """Whether its last report of its head was not processed yet."""

    def __repr__(self) -> str:
        remote, core = self.muxer.remote_public_key.hex()[:8], self.core.key.hex()[:8]
        return f"<Peer {remote} of core {core}, fork {self.remote_fork}, length {self.remote_length}>"

    # --- for the replicator ---------------------------------------------------------------------------------

    @property
    def opened(self) -> bool:
        return self.channel.opened

    @property
    def rtt(self) -> float | None:
        """Round-trip time of the connection in seconds, if known."""
        return self.muxer.rtt

    @property
    def writable(self) -> bool:
        return self.channel.writable

    @property
    def head_not_durable(self) -> bool:
        return self._host.head_not_durable

    @property
    def heads(self) -> UpgradeRequester:
        """The upgrades that are requested, over all peers."""
        return self._host.downloader.heads

    @property
    def remote_wants(self) -> RemoteWants:
        return self.announcer.wants

    @property
    def may_be_asked(self) -> bool:
        """Whether requests may be sent to it."""
        down = self.down
        return (
            self.synced
            and self.remote_uploading
            and not down.paused
            and not down.probing
            and self.channel.opened
            and not self._host.frozen
        )

    @property
    def ahead(self) -> bool:
        """Whether it reports a longer core (which it uploads) or a higher fork (which we follow or
        report)."""
        head = self.core.head
        if self.remote_fork != head.fork:
            return self.remote_fork > head.fork and self.heads.wants_fork(self.remote_fork)
        return self.remote_length > head.length and self.remote_uploading

    def open(self, now: float) -> None:
        """Open the channel with a proof that we know the key."""
        muxer, w = self.muxer, Writer()
        proof = capability(self.core.key, muxer.handshake_hash, sender_is_initiator=muxer.is_initiator)
        ChannelHandshake(capability=proof).encode(w)
        self.channel.open(bytes(w), now)

    def close(self, now: float) -> None:
        self.channel.close(now)

    def send(self, frame: Frame) -> None:
        self.channel.send_frame(frame)

    send_request = send
    send_data = send

    def mark_dirty(self) -> None:
        """Request a call of `channel_flush`, since there may be messages to send."""
        self.channel.mark_dirty()

    def wait_writable(self) -> None:
        self.channel.wait_writable()

    def schedule_sync(self) -> None:
        """Send `sync` again: our head, or the head that we know of the peer, has changed."""
        self._sync_pending = True
        self.channel.mark_dirty()

    def want(self, start: int, end: int) -> int:
        """Subscribe to announcements in start..end, except below the peer's leading run. Returns the end of
        the subscribed regions."""
        down = self.down
        wants, unwants = down.wants.update(self.core.bitfield, down.availability.contiguous, start, end)
        for unwant in unwants:
            self.send(Unwant(start=unwant.start, length=unwant.length))
        for want in wants:
            self.send(want)
        batch = self._host.config.want_batch
        return (end + batch - 1) // batch * batch

    def want_around(self, index: int) -> None:
        """Subscribe to announcements in the region of a block of the peer's own history."""
        want = self.down.wants.around(index)
        if want is not None:
            self.send(want)

    def valid_end(self) -> int:
        """Length below which it can prove blocks to us."""
        if self._head_stale:
            self._update_can_upgrade()
        head = self.core.head
        if self.remote_fork != head.fork:
            return 0
        if self.remote_length >= head.length:
            return head.length
        if self.can_upgrade:
            return self.remote_length
        if self._last_fork == head.fork:
            return min(self._last_length, self.remote_length)
        return 0

    def storage_failed(self, error: StorageError) -> None:
        """A block that the peer requested cannot be read."""
        self._host.emit(StorageFailed(error))

    def announce(self, start: int, end: int) -> None:
        """Blocks start..end have become durable."""
        if self.writable:
            self.announcer.have(start, end, self.down.availability)
        else:
            self.announcer.skipped()
            self.channel.wait_writable()

    # --- from the channel -----------------------------------------------------------------------------------

    def channel_opened(self, handshake: Reader, now: float) -> None:
        """Both sides have opened the channel. Raises InvalidCapability if the peer does not know the key."""
        muxer = self.muxer
        proof = ChannelHandshake.decode(handshake).capability
        expected = capability(self.core.key, muxer.handshake_hash, sender_is_initiator=not muxer.is_initiator)
        if not compare_digest(proof, expected):
            raise InvalidCapability("the peer opened a core whose key it does not know")
        self.opened_at = now
        self._send_sync()
        self.announcer.opened()
        self._host.peer_opened(self, now)

    def channel_message(self, type_id: int, message: Reader, now: float) -> None:
        if type_id < len(_HANDLERS):
            try:
                _HANDLERS[type_id](self, message, now)
            except StorageError as error:
                self.storage_failed(error)
            except VerificationError:
                raise  # `bad_data` has decided that the connection must be closed
            except RemoteProtocolError as error:
                self._host.bad_data(self, error, now)

    def channel_closed(self, reason: CloseReason, now: float) -> None:
        self.down.availability.close()
        self.uploader.close()
        self._host.upload.remove_waiter(self.wait_writable)
        self._host.download.remove_waiter(self.mark_dirty)
        self._host.peer_closed(self, reason, now)

    def channel_flush(self, now: float) -> None:
        if self.channel.opened:
            try:
                self._flush(now)
            except StorageError as error:
                self.storage_failed(error)

    def _flush(self, now: float) -> None:
        if self.announcer.owes and self.writable:
            self.announcer.flush()
        if self.behind:
            self._update_can_upgrade()
            self._sync_pending |= self.can_upgrade
        elif self._head_stale:
            self._update_can_upgrade()
        if self._sync_pending:
            self._send_sync()
        self._host.downloader.fill(self, now)
        self._host.check_busy(now)

    def channel_writable(self, now: float) -> None:
        if self.announcer.owes:
            self.announcer.flush()
        self.uploader.work(now)
        self.uploader.count()

    # --- sync -----------------------------------------------------------------------------------------------

    def _send_sync(self) -> None:
        held = self._host.head_not_durable
        head = self.core.durable_head if held else self.core.head
        self._sync_pending = False
        same = self.remote_fork == head.fork
        self._update_can_upgrade()
        self.send(
            Sync(
                fork=head.fork,
                length=head.length,
                remote_length=self.remote_length if same else 0,
                can_upgrade=self.can_upgrade
                and same
                and (self.remote_length < head.length or head.length == 0),
                uploading=True,
                downloading=self._host.busy,
                has_manifest=self.core.has_manifest,
            )
        )

    def _update_can_upgrade(self) -> None:
        self._head_stale = False
        core, length = self.core, self.remote_length
        head = core.head
        same, shorter = self.remote_fork == head.fork, length < head.length
        self.can_upgrade = same and (length == 0 or (shorter and core.can_upgrade_from(length)))
        if self.can_upgrade:
            self._last_fork, self._last_length = head.fork, length
        behind = same and shorter and not self.can_upgrade
        if behind != self.behind:
            self.behind = behind
            self._host.set_waiting_for_upgrade(self, behind)

    def _on_sync(self, r: Reader, now: float) -> None:
        sync = Sync.decode(r)
        head = self.core.head
        self.synced = True
        if sync.fork != self.remote_fork:
            self.down.reset_backoff()
        self.remote_fork = sync.fork
        self.remote_length = sync.length
        self.remote_can_upgrade = sync.can_upgrade
        self.remote_uploading = sync.uploading
        self.remote_downloading = sync.downloading
        self.remote_has_manifest = sync.has_manifest
        if not self._host.busy:
            if self.ahead:
                self._host.emit(UpgradeAvailable(self, sync.fork, sync.length))
            elif not sync.downloading:
                self.close(now)
                return
        self.length_acked = sync.remote_length if sync.fork == head.fork else 0
        self.down.head_refused = False
        self._head_stale = True  # processed once a turn: that costs more than the message
        if sync.fork == head.fork and head.length > sync.length:
            self._sync_pending = True  # it waits for the acknowledgement
        self._host.fullness.reported(now)
        self.mark_dirty()

    # --- the other messages ---------------------------------------------------------------------------------

    def _on_request(self, r: Reader, now: float) -> None:
        self.uploader.on_request(r)
        self.uploader.count()

    def _on_cancel(self, r: Reader, now: float) -> None:
        self.uploader.on_cancel(Cancel.decode(r).request)
        self.uploader.count()

    def _on_data(self, r: Reader, now: float) -> None:
        self._host.downloader.on_data(self, Data.decode(r), now)

    def _on_no_data(self, r: Reader, now: float) -> None:
        self._host.downloader.on_no_data(self, NoData.decode(r), now)

    def _on_want(self, r: Reader, now: float) -> None:
        want = Want.decode(r)
        if self.announcer.wants.add(want):
            self.uploader.on_want(want)
            self.uploader.count()
            self._host.fullness.reported(now)

    def _on_unwant(self, r: Reader, now: float) -> None:
        want = Unwant.decode(r)
        self.announcer.wants.remove(want)
        self.uploader.on_unwant(want)
        self.uploader.count()
        self._host.fullness.reported(now)

    def _on_bitfield(self, r: Reader, now: float) -> None:
        message = BitfieldMessage.decode(r)
        self.down.availability.on_bitfield(message.start, message.words, self.core.head.length)
        self.down.wants.answered(message.start, message.start + max(1, 8 * len(message.words)))
        self.down.cursor = min(self.down.cursor, message.start)
        self._host.downloader.announced(self)
        self._host.fullness.reported(now)
        self.mark_dirty()

    def _on_range(self, r: Reader, now: float) -> None:
        message = Range.decode(r)
        start, length = message.start, message.length
        self.down.availability.on_range(start, length, self.core.head.length, drop=message.drop)
        self._host.fullness.reported(now)
        if not message.drop:
            self._host.downloader.announced(self)
            if start == 0:  # the answer to a want from a peer that has the whole region
                partly = length < self.remote_length
                self.down.wants.answered(0, length - self._host.config.want_batch + 1 if partly else length)
            self.down.cursor = min(self.down.cursor, message.start)
            self.mark_dirty()

    def _on_extension(self, r: Reader, now: float) -> None:
        """Ignored: extensions are messages between applications."""


_HANDLERS: tuple[Callable[[Peer, Reader, float], None], ...] = (
    Peer._on_sync,
    Peer._on_request,
    Peer._on_cancel,
    Peer._on_data,
    Peer._on_no_data,
    Peer._on_want,
    Peer._on_unwant,
    Peer._on_bitfield,
    Peer._on_range,
    Peer._on_extension,
)
"""Handlers in the order of `wire.registry.MESSAGES`."""
