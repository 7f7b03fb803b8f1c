"""Replication of one core with any number of peers: the part that the shell uses.

    replicator = Replicator(core)
    replicator.attach(muxer, now)          # for each connection that should replicate the core
    muxer.receive(message, now)            # as messages come; RemoteProtocolError ends the connection
    muxer.take_output(now)                 # once per turn of the loop
    replicator.on_durable(runs, now)       # after each flush of the store
    replicator.handle_timer(now)           # at next_deadline()
    replicator.next_event()                # until None

An idle core has no deadline, no output and no polling: it costs only memory.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable

from ..change import Change
from ..errors import RemoteProtocolError
from ..merkle.reorg import Reorg
from ..mux import CloseReason, Muxer
from ..wire.data import Data
from .config import MAX_REOPENS, ReplicationConfig
from .downloader import Downloader
from .events import (
    BackedOff,
    Event,
    ManifestReceived,
    PeerClosed,
    PeerDeclined,
    PeerMisbehaved,
    PeerOpened,
    Upgraded,
)
from .field_budget import FieldBudget
from .fullness import Fullness
from .interfaces import PeerView, ReplicatedCore
from .peer import ALIAS, PROTOCOL, Peer
from .ratelimit import RateLimit
from .scheduler import Ranges
from .suspicion import Suspicions

log = logging.getLogger(__name__)


class Replicator:
    """`on_wake` is called when an event waits, or the deadline moves to an earlier time."""

    def __init__(
        self,
        core: ReplicatedCore,
        *,
        config: ReplicationConfig | None = None,
        on_wake: Callable[[], None] | None = None,
        upload: RateLimit | None = None,
        download: RateLimit | None = None,
        fields: FieldBudget | None = None,
        suspicions: Suspicions | None = None,
    ) -> None:
        """`upload`, `download` and `fields` are shared with the replicators of other cores."""
        self.core = core
        self.config = config or ReplicationConfig()
        self._on_wake = on_wake
        self.upload = upload or RateLimit()
        self.download = download or RateLimit()
        self.fields = fields or FieldBudget()
        self.suspicions = suspicions or Suspicions()
        self.fullness = Fullness(self)
        self.downloader = Downloader(core, self.config, self, self.download)
        self.closed = False
        self._downloading = self.config.downloading
        self._attached: dict[Muxer, Peer | None] = {}
        self._declined: frozenset[Muxer] = frozenset()
        self._reopened: dict[Muxer, int] = {}
        self._peers: dict[Peer, None] = {}
        self._backed_off: dict[Muxer, float] = {}
        """Connections without a channel, and when it is opened again."""
        self._behind: dict[Peer, None] = {}
        self._events: deque[Event] | None = None
        """None without events: an empty queue would take more memory than the rest of an idle replicator."""
        self._deadline: float | None = None
        self._was_busy = self.busy
        self._length = core.head.length
        self._head_not_durable = core.durable_head is not core.head
        """Whether the head was not durable at its last change; it may be a local writer's."""
        core.add_listener(self._on_change)

    def __repr__(self) -> str:
        return f"<Replicator of {self.core!r}, {len(self._peers)} peers>"

    # --- connections ----------------------------------------------------------------------------------------

    @property
    def peers(self) -> Collection[Peer]:
        """Peers whose channels are open, in the order of their opening."""
        return self._peers.keys()

    @property
    def declined(self) -> Collection[bytes]:
        """Public keys of connected peers that have rejected the channel: they do not have the core."""
        return {muxer.remote_public_key for muxer in self._declined}

    @property
    def frozen(self) -> bool:
        """Whether the writer signed two histories: nothing more is fetched, stored blocks are served."""
        return self.downloader.misbehaviour.frozen

    def freeze(self) -> None:
        """Freeze the core: an earlier run found two signed histories."""
        self.downloader.misbehaviour.frozen = True

    def attach(self, muxer: Muxer, now: float) -> Peer | None:
        """Open the core's channel on a connection, or answer the peer that has opened it.

        Returns the peer; None if the core has MAX_PEERS, or the replicator or the connection is closed.
        """
        if self.closed or muxer.closed:
            return None
        peer = self._attached.get(muxer)
        if peer is not None:
            return peer
        if len(self._peers) >= self.config.max_peers:
            return None
        record = self.suspicions.find(muxer.remote_public_key, self.core.key)
        if record is not None and now < record.closed_until:
            self._attached[muxer] = None
            self._back_off(muxer, record.closed_until)
            return None
        return self._open(muxer, now)

    def knows(self, muxer: Muxer) -> bool:
        """Whether the core has a channel on the connection, or the peer has declined it."""
        return muxer in self._attached

    def _open(self, muxer: Muxer, now: float) -> Peer | None:
        if muxer.closed:
            return None  # `detach` is about to come
        muxer.add_alias(ALIAS, PROTOCOL)
        if muxer.channel(PROTOCOL, self.core.discovery_key) is not None:
            return None  # another replicator of the core has the channel
        peer = Peer(self, muxer)
        self._attached[muxer] = peer
        peer.open(now)
        return peer

    def detach(self, muxer: Muxer, now: float) -> None:
        """Close the core's channel on a connection."""
        peer = self._attached.pop(muxer, None)
        self._declined -= {muxer}
        self._reopened.pop(muxer, None)
        self._backed_off.pop(muxer, None)
        if peer is not None:
            peer.close(now)

    def close(self, now: float) -> None:
        """Close all channels and release the core."""
        if self.closed:
            return
        self.closed = True
        for muxer in list(self._attached):
            self.detach(muxer, now)
        self.core.remove_listener(self._on_change)
        self._deadline = None

    # --- what to download -----------------------------------------------------------------------------------

    @property
    def downloading(self) -> bool:
        """Whether the writer is followed and blocks of `download_ranges` are fetched."""
        return self._downloading

    def set_downloading(self, downloading: bool, now: float) -> None:
        """Start or stop downloading. Stopped, channels that the peer does not need either are closed; they
        are opened again when downloading starts."""
        self._downloading = downloading
        if downloading and not self.closed:
            for muxer, peer in list(self._attached.items()):
                if peer is None and muxer not in self._backed_off:
                    self._open(muxer, now)
        self.downloader.refill_all(0)
        self.check_busy(now)

    @property
    def busy(self) -> bool:
        """Whether peers see us as downloading."""
        return self._downloading or bool(self.downloader.requests) or self.downloader.scheduler.has_explicit

    @property
    def wants_everything(self) -> bool:
        """Whether all blocks, including future ones, are downloaded."""
        return self._downloading and self.downloader.scheduler.wants_everything

    @property
    def download_ranges(self) -> Ranges:
        """The blocks to download, as (start, end) in order; an end of None is open. At first all blocks."""
        return self.downloader.scheduler.ranges

    @download_ranges.setter
    def download_ranges(self, ranges: Iterable[tuple[int, int | None]]) -> None:
        self.downloader.scheduler.ranges = tuple(ranges)
        self.downloader.refill_all(0)

    @property
    def max_fork(self) -> int | None:
        """Highest fork that is followed; None: any. See `ForkAvailable`."""
        return self.downloader.heads.max_fork

    @max_fork.setter
    def max_fork(self, fork: int | None) -> None:
        self.downloader.heads.max_fork = fork
        self.downloader.refill_all()

    def request_block(self, index: int, now: float) -> bool:
        """Fetch a block that a reader waits for before all others. True if it is stored already.

        `BlockReceived` is emitted when it has come. A block that does not exist yet is fetched when it does.
        """
        if self.core.bitfield.get(index):
            return True
        self.downloader.scheduler.add_explicit(index)
        best = self.downloader.best_for(index)
        if best is not None:
            best.mark_dirty()
        else:
            self.downloader.refill_all()
        self.check_busy(now)
        return False

    def cancel_block(self, index: int, now: float) -> None:
        """The reader no longer waits for the block."""
        self.downloader.cancel_explicit(index)
        self.check_busy(now)

    # --- changes of the core --------------------------------------------------------------------------------

    def on_durable(self, runs: Iterable[tuple[int, int]], now: float) -> None:
        """A flush of the store has made blocks start..end of the core, and its head, durable."""
        if self._head_not_durable and self.core.durable_head is self.core.head:
            self._head_not_durable = False
            for peer in self._peers:
                peer.schedule_sync()
                peer.uploader.resume()
        for start, end in runs:
            for peer in self._peers:
                peer.announce(start, end)

    @property
    def head_not_durable(self) -> bool:
        return self._head_not_durable

    def _on_change(self, change: Change) -> None:
        """The core was changed by its local writer, or by a read that found a corrupt block."""
        if change.block is not None:
            self.downloader.on_block_stored(change.block)
        if change.appended is not None or change.truncated_to is not None:
            self._head_not_durable = True
        self._changed(change)

    def apply(self, data: Data) -> Change:
        """See `ReplicatorContext.apply`."""
        change = self.core.apply(data, applier=self._on_change)
        self._changed(change)
        return change

    def apply_reorg(self, reorg: Reorg) -> Change:
        """See `ReplicatorContext.apply_reorg`."""
        change = self.core.apply_reorg(reorg, applier=self._on_change)
        self._changed(change)
        return change

    def _changed(self, change: Change) -> None:
        self.fullness.changed(change)
        if change.block is not None:
            for peer in self._behind:
                peer.mark_dirty()
        if change.truncated_to is not None:
            self._truncated(change.truncated_to)
        elif change.lost is not None:
            self._dropped(*change.lost)
        self._length = self.core.head.length
        if change.manifest:
            self.emit(ManifestReceived())
        if change.upgraded or change.manifest:
            for peer in self._peers:
                peer.schedule_sync()
        if change.upgraded:
            self.downloader.refill_all()
            self.emit(Upgraded(self.core.head.length, self.core.head.fork))

    def _truncated(self, length: int) -> None:
        downloader = self.downloader
        downloader.cancel_stale_fork()
        downloader.scheduler.lost(length, None)
        downloader.refill_all(length)
        old, self._length = self._length, self.core.head.length
        if old > length:
            for peer in self._peers:
                peer.announcer.dropped(length, old, truncated=True)

    def _dropped(self, start: int, end: int) -> None:
        self.downloader.scheduler.lost(start, end)
        for peer in self._peers:
            peer.announcer.dropped(start, end, truncated=False)
            peer.down.wants.dropped(start, end)
        self.downloader.refill_all(start)

    # --- time and events ------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `handle_timer` must be called; None: not at all."""
        return self._deadline

    def handle_timer(self, now: float) -> None:
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self.downloader.tick(now)
            self._resume(now)
            self.fullness.handle_timer(now)
            self.check_busy(now)

    def _resume(self, now: float) -> None:
        """Open channels again where a back-off has ended."""
        for muxer, until in list(self._backed_off.items()):
            if now < until:
                self.wake_at(until)
                continue
            del self._backed_off[muxer]
            if self._downloading and not self.frozen and self._attached.get(muxer, muxer) is None:
                self._open(muxer, now)

    def _back_off(self, muxer: Muxer, until: float) -> None:
        self._backed_off[muxer] = until
        self.wake_at(until)

    def bad_data(self, peer: PeerView, error: RemoteProtocolError, now: float) -> None:
        """See `ReplicatorContext.bad_data`."""
        muxer = peer.muxer
        remote = muxer.remote_public_key
        seconds = self.suspicions.bad_data(remote, self.core.key, now) if remote else None
        log.debug("%r sent bad data, backed off for %s s: %s", peer, seconds, error)
        self.emit(PeerMisbehaved(peer, error, seconds is None))
        if seconds is None:
            raise error
        self.emit(BackedOff(remote, f"sends bad data ({error})", round(seconds)))
        self._back_off(muxer, now + seconds)
        peer.close(now)

    def next_event(self) -> Event | None:
        """The oldest event; None without events."""
        if self._events is None:
            return None
        event = self._events.popleft()
        if not self._events:
            self._events = None
        return event

    # --- for the parts of it --------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Queue an event for `next_event`."""
        if self._events is not None:
            self._events.append(event)
            return
        self._events = deque((event,))
        if self._on_wake is not None:
            self._on_wake()

    def wake_at(self, time: float) -> None:
        if self._deadline is None or time < self._deadline:
            self._deadline = time
            if self._on_wake is not None:
                self._on_wake()

    def set_waiting_for_upgrade(self, peer: Peer, behind: bool) -> None:
        if behind:
            self._behind[peer] = None
        else:
            self._behind.pop(peer, None)

    def peer_opened(self, peer: Peer, now: float) -> None:
        """Take a peer whose channel is open on both sides."""
        self._peers[peer] = None
        self._declined -= {peer.muxer}
        if len(self._peers) > self.config.max_peers:  # we had opened more channels than the core may have
            peer.close(now)
            return
        if self.downloader.requests:
            self.wake_at(now + self.config.check_interval)
        peer.down.remember(self.suspicions.find(peer.muxer.remote_public_key, self.core.key))
        log.debug("%r: channel open", peer)
        self.fullness.reported(now)
        self.emit(PeerOpened(peer))

    def peer_closed(self, peer: Peer, reason: CloseReason, now: float) -> None:
        """Remove a peer and cancel what it was asked for."""
        was_open = peer in self._peers
        self._behind.pop(peer, None)
        if was_open:
            log.debug("%r: channel closed (%s)", peer, reason.name.lower())
            if reason is CloseReason.DISCONNECTED and peer.muxer.ended_by_peer:
                self.downloader.ended(peer, now)
            del self._peers[peer]
            self.downloader.cancel_peer(peer, send_cancel=False)
            self.fullness.reported(now)
            self.emit(PeerClosed(peer))
        muxer = peer.muxer
        if self._attached.get(muxer) is not peer:
            return
        if reason is CloseReason.DISCONNECTED:
            self._attached.pop(muxer)
            self._declined -= {muxer}
            self._reopened.pop(muxer, None)
            self._backed_off.pop(muxer, None)
            return
        self._attached[muxer] = None
        if reason is CloseReason.REJECTED:
            self._declined |= {muxer}
            self.emit(PeerDeclined(muxer.remote_public_key))
        if was_open and reason is CloseReason.REMOTE:
            self._reopen(peer, now)

    def _reopen(self, peer: Peer, now: float) -> None:
        """The peer closed the channel as idle, but we need it (lib/replicator.js `onclose`)."""
        if peer.remote_downloading or not peer.remote_uploading or not self._downloading or self.frozen:
            return
        times = 0 if peer.stats.blocks_down else self._reopened.get(peer.muxer, 0)
        if times < MAX_REOPENS:
            self._reopened[peer.muxer] = times + 1
            self._open(peer.muxer, now)

    def check_busy(self, now: float) -> None:
        """Notify peers when downloading begins or stops, and close channels that neither side needs."""
        busy = self.busy
        if busy == self._was_busy:
            return
        self._was_busy = busy
        for peer in list(self._peers):
            if busy or peer.remote_downloading:
                peer.schedule_sync()
            else:
                peer.close(now)
