"""Requests missing blocks from every peer, and handles the answers.

`fill` runs at most once per turn of the loop and peer, before its output is taken. The cost of a block does
not grow with the length of the core. A block that did not come (a refusal, a timeout, a closed connection) is
offered to all peers again.
"""

from __future__ import annotations

import logging

from ..errors import StorageError, VerificationError
from ..wire.control import Cancel, NoData
from ..wire.data import Data
from .config import MAX_REFUSALS, ReplicationConfig
from .context import ReplicatorContext, arm_timer
from .download_state import window
from .events import BlockReceived, StorageFailed
from .hotswap import Hotswap
from .interfaces import PeerView, ReplicatedCore
from .misbehaviour import MisbehaviourPolicy
from .ratelimit import BLOCK_OVERHEAD, RateLimit, Waiter
from .requests import BlockRequest, InflightRequest, InflightTracker, Purpose
from .scheduler import Scheduler
from .trials import Trials
from .upgrades import UpgradeRequester

log = logging.getLogger(__name__)

HIGH_PRIORITY = 1
"""Priority of a block that a reader waits for (lib/replicator.js PRIORITY.HIGH)."""


class Downloader:
    def __init__(
        self, core: ReplicatedCore, config: ReplicationConfig, context: ReplicatorContext, limit: RateLimit
    ) -> None:
        self._core = core
        self._config = config
        self._context = context
        self._limit = limit
        self.requests = InflightTracker()
        self.scheduler = Scheduler(core.bitfield)
        self.heads = UpgradeRequester(core, config, self.requests, self.scheduler, context)
        self.misbehaviour = MisbehaviourPolicy(core, config, context)
        self._hotswap = Hotswap(self, config, context)
        self._trials = Trials(self, config, context)

    # --- asking ---------------------------------------------------------------------------------------------

    def fill(self, peer: PeerView, now: float) -> None:
        """Send the peer as many requests as its window allows."""
        try:
            self._fill(peer, now)
        except StorageError as error:
            self._storage_failed(peer, error, now)

    def _storage_failed(self, peer: PeerView, error: StorageError, now: float) -> None:
        """Our disk failed: pause requests to the peer, without blaming it."""
        self._context.emit(StorageFailed(error))
        peer.down.stalled_until = now + self._config.stall_pause
        self._context.wake_at(peer.down.stalled_until)

    def _fill(self, peer: PeerView, now: float) -> None:
        down, scheduler = peer.down, self.scheduler
        if not (self._context.downloading or scheduler.has_explicit) or not peer.may_be_asked:
            return
        if now < down.stalled_until:
            self._context.wake_at(down.stalled_until)
            return
        if down.record is not None:
            self._trials.fill(peer, down.record, now)
        if not self.heads.fill(peer, now):
            return
        end = peer.valid_end()
        room = self.window_of(peer) - len(down.inflight)
        limit = self._limit
        turn = Waiter(limit, peer.mark_dirty, self._expected(peer), now) if limit.active else None
        if scheduler.has_pending:
            room = self._ask_explicit(peer, room, end, turn, now)
        if self._context.downloading:
            partial = down.availability.contiguous < end
            while room > 0:
                index = scheduler.next_block(down.availability, down.cursor, end)
                if index is None:
                    down.cursor = max(down.cursor, end)
                    break
                if turn is not None and not turn.may_ask():
                    room = 0
                    break
                down.cursor = index + 1
                if partial and self._trials.doubt(peer, index, end, now):
                    continue
                self.ask_block(peer, index, now)
                room -= 1
        down.starved = room > 0
        if down.starved:
            if down.availability.discarded:
                self._retry_later(peer, now)
            self._ask_about_missing(peer, end)

    def window_of(self, peer: PeerView) -> int:
        """Requests that the peer may have in flight."""
        down = peer.down
        full = window(self._config, peer.rtt, len(self._context.peers), down.average)
        return min(full, down.max_inflight)

    def _expected(self, peer: PeerView) -> int:
        """Estimated bytes of a block of the peer."""
        head, average = self._core.head, peer.down.average
        return BLOCK_OVERHEAD + round(average or head.byte_length / max(head.length, 1))

    def _ask_explicit(self, peer: PeerView, room: int, end: int, turn: Waiter | None, now: float) -> int:
        """Request blocks that readers wait for, a few of them even when the window is full."""
        room += self._config.inflight_min
        while room > 0:
            index = self.scheduler.next_explicit(peer.down.availability, end)
            if index is None:
                break
            if turn is not None and not turn.may_ask():
                return 0
            if self._trials.doubt(peer, index, end, now):
                continue
            self.ask_block(peer, index, now, urgent=True)
            room -= 1
        return room - self._config.inflight_min

    def ask_block(self, peer: PeerView, index: int, now: float, *, urgent: bool = False) -> None:
        """Request one block from one peer. Raises StorageError."""
        core, requests = self._core, self.requests
        fork, nodes = core.head.fork, core.missing_nodes(index)
        sent = InflightRequest(requests.next_id(), peer, fork, Purpose.BLOCK, now, index)
        if self._limit.active:
            sent.reserved = self._limit.reserve(self._expected(peer))
        if not requests:
            arm_timer(self._context, self._config, now)
        requests.add(sent)
        self.scheduler.claim(index)
        peer.send_request(BlockRequest(sent.id, fork, index, nodes, HIGH_PRIORITY if urgent else 0))

    def _ask_about_missing(self, peer: PeerView, end: int) -> None:
        """Blocks are missing and the peer offers none: subscribe to regions whose blocks we do not know."""
        if self._context.downloading:
            for start, stop in self.scheduler.missing(end):
                peer.want(start, stop)
        at = self.scheduler.next_pending(0, end)
        while at is not None:
            at = self.scheduler.next_pending(peer.want(at, at + 1), end)

    def refill_all(self, lowest: int | None = None) -> None:
        """Blocks from `lowest` on may be requestable: call `fill` for all peers."""
        for peer in self._context.peers:
            if lowest is not None and peer.down.cursor > lowest:
                peer.down.cursor = lowest
            peer.mark_dirty()

    def best_for(self, index: int) -> PeerView | None:
        """The peer from which to request one block, None if no peer is known to have it."""
        able = [peer for peer in self._context.peers if self.can_give(peer, index)]
        return min(able, key=lambda peer: (len(peer.down.inflight), peer.rtt or 0.0), default=None)

    def can_give(self, peer: PeerView, index: int) -> bool:
        """Whether the peer is known to have a block and can prove it."""
        return peer.may_be_asked and peer.down.availability.has(index) and index < peer.valid_end()

    def cancel_explicit(self, index: int) -> None:
        """No reader waits for the block any more."""
        self.scheduler.remove_explicit(index)
        if self._context.downloading and self.scheduler.in_ranges(index):
            return
        for sent in self.requests.requests_for(index):
            if sent.purpose is Purpose.BLOCK:
                self.cancel(sent)
        self._reschedule(index)

    def try_head(self, peer: PeerView, now: float) -> None:
        """Send a request about the head, though such a request is suspected."""
        self.heads.try_head(peer, now)

    def could_ask_elsewhere(self, sent: InflightRequest) -> bool:
        """Whether another peer offers the head that `sent` requests."""
        return self.heads.could_ask_elsewhere(sent)

    # --- answers --------------------------------------------------------------------------------------------

    def on_data(self, peer: PeerView, data: Data, now: float) -> None:
        """Handle a `data` message. Raises VerificationError when the peer has sent too much bad data."""
        if self._limit.active and data.block is not None:
            self._limit.consume(BLOCK_OVERHEAD + len(data.block.value))
        if data.request == 0:
            self.misbehaviour.on_proof(peer, data, now)
            return
        self._on_answer(peer, now)
        sent = self.requests.get(data.request, peer)
        if sent is None:
            return  # cancelled, or timed out, while the answer was on its way
        self._take(sent)
        if peer.down.record is None or not self._trials.answered(peer, peer.down.record, sent):
            peer.muxer.answered_at = now
        if not sent.answered_by(data):
            self._refused(sent, now)
            return
        try:
            useful = self._accept(sent, data, now)
        except VerificationError as error:
            self._invalid(sent, error, now)
            return
        except StorageError as error:
            self._storage_failed(peer, error, now)
            useful = True
        if not useful:
            self.refused_head(peer, now)
        if sent.index is not None:
            if not self._core.bitfield.get(sent.index):
                self._reschedule(sent.index)  # answered without its block, or another fork came first
            elif data.block is not None:
                self._received(peer, sent.index, len(data.block.value))
        peer.down.refusals = 0
        if useful and sent.index is None and sent.purpose is Purpose.UPGRADE:
            self._context.fullness.gave(peer)
            peer.down.head_failures = 0
        if peer.down.starved:
            self._hotswap.answered(peer, now)
        peer.mark_dirty()

    def _accept(self, sent: InflightRequest, data: Data, now: float) -> bool:
        """Apply an answer. False if it was requested about the head and brings nothing new."""
        core, purpose = self._core, sent.purpose
        if purpose is Purpose.PROOF:
            return self.heads.on_proof(sent.peer, data, now)
        if purpose is Purpose.REFINE:
            return self.heads.on_refinement(data, now)
        if data.fork != core.head.fork:
            return True  # the core has changed since the request
        change = self._context.apply(data)
        if change.block is not None:
            self.on_block_stored(change.block)
        return purpose is Purpose.BLOCK or change.upgraded or change.manifest

    def _received(self, peer: PeerView, index: int, size: int) -> None:
        stats, down = peer.stats, peer.down
        stats.blocks_down += 1
        stats.bytes_down += size
        self._limit.received += BLOCK_OVERHEAD + size
        peer.muxer.useful += 1
        peer.muxer.useful_bytes += size
        peer.muxer.received += 1
        self._context.fullness.gave(peer)
        down.average = size if down.average == 0 else down.average + (size - down.average) / 16
        self._context.emit(BlockReceived(index, size, peer))

    def on_no_data(self, peer: PeerView, message: NoData, now: float) -> None:
        sent = self.requests.get(message.request, peer)
        if sent is not None:
            log.debug("%r refuses %s", peer, sent)
            self._on_answer(peer, now)
            self._take(sent)
            if peer.down.record is not None:
                self._trials.answered(peer, peer.down.record, sent)
            self._refused(sent, now)

    def _on_answer(self, peer: PeerView, now: float) -> None:
        down = peer.down
        down.last_heard = now
        down.stalled_until = 0.0
        if down.max_inflight < self._config.inflight_max:
            down.max_inflight *= 2

    def _refused(self, sent: InflightRequest, now: float) -> None:
        """The peer refused a request: request it elsewhere."""
        down = sent.peer.down
        self._context.fullness.reported(now)
        down.refusals += 1
        known = True
        if sent.index is None:
            self.refused_head(sent.peer, now)
        else:
            known = down.availability.refused(sent.index)
            down.broken_claims += 1
            self._retry_later(sent.peer, now)
        if not down.paused and (down.refusals >= MAX_REFUSALS or not known):
            down.paused = True
            down.backoff_until = now + self._config.retry_after * 2**down.pauses
            down.pauses += 1
            self.cancel_peer(sent.peer)
        if sent.index is not None:
            self._reschedule(sent.index)
        else:
            self.refill_all()

    def refused_head(self, peer: PeerView, now: float) -> None:
        """Send the peer no requests about its head for a while."""
        peer.down.head_refused = True
        peer.down.head_failures += 1
        self._retry_later(peer, now)

    def _retry_later(self, peer: PeerView, now: float) -> None:
        down = peer.down
        if not down.backoff_until:
            down.backoff_until = now + self._config.retry_after
            self._context.wake_at(down.backoff_until)

    def _invalid(self, sent: InflightRequest, error: VerificationError, now: float) -> None:
        peer = sent.peer
        self._context.fullness.reported(now)
        if sent.index is not None:
            peer.down.availability.refused(sent.index)
            peer.down.broken_claims += 1
            self._retry_later(peer, now)
            self._reschedule(sent.index)
        else:
            self.refused_head(peer, now)
        self.misbehaviour.invalid_data(peer, error, now)
        if not peer.may_be_asked:
            self.cancel_peer(peer)

    def _take(self, sent: InflightRequest) -> bool:
        """Remove a request from the table. True if its block is requested from no other peer."""
        last = self.requests.remove(sent)
        if sent.peer.down.record is not None:
            self._trials.taken(sent.peer, sent.peer.down.record, sent)
        if sent.reserved:
            self._limit.refund(sent.reserved)
        if sent.purpose is not Purpose.BLOCK:
            self.heads.on_request_done(sent)
        return last

    def _reschedule(self, index: int) -> None:
        """A block did not come: offer it again unless it is requested from another peer."""
        if not self.requests.requests_for(index):
            self.scheduler.release(index)
            self.refill_all(index)

    def announced(self, peer: PeerView) -> None:
        """The peer has announced more blocks."""
        if peer.down.record is not None and peer.down.record.doubted:
            self._trials.announced(peer, peer.down.record)

    def ended(self, peer: PeerView, now: float) -> None:
        """The peer has ended the connection: suspect the requests in flight."""
        self._trials.ended(peer, now)

    def on_block_stored(self, index: int) -> None:
        """A block is stored: cancel other requests for it."""
        for sent in self.requests.requests_for(index):
            if sent.purpose is Purpose.BLOCK:
                self.cancel(sent)
        self.scheduler.arrived(index)

    def cancel(self, sent: InflightRequest) -> None:
        """Cancel a request."""
        self._take(sent)
        sent.peer.send(Cancel(request=sent.id))
        sent.peer.mark_dirty()

    def cancel_peer(self, peer: PeerView, *, send_cancel: bool = True) -> None:
        """Cancel all requests to the peer, and offer their blocks to the others."""
        self.cancel_requests(self.requests.of(peer), send_cancel=send_cancel)

    def cancel_requests(self, requests: list[InflightRequest], *, send_cancel: bool = True) -> None:
        """Cancel requests, and offer their blocks to all peers."""
        lowest: int | None = None
        for sent in requests:
            last = self._take(sent)
            if send_cancel:
                sent.peer.send(Cancel(request=sent.id))
            if last and sent.index is not None:
                self.scheduler.release(sent.index)
                lowest = sent.index if lowest is None else min(lowest, sent.index)
        self.refill_all(lowest)

    def cancel_stale_fork(self) -> None:
        """The core is on another fork: cancel requests for the old one."""
        fork = self._core.head.fork
        for sent in list(self.requests):
            if sent.fork < fork:
                if self._take(sent) and sent.index is not None:
                    self.scheduler.release(sent.index)
                sent.peer.send(Cancel(request=sent.id))

    def tick(self, now: float) -> None:
        """Handle the timer: timeouts and slow requests."""
        self.misbehaviour.tick(now)
        try:
            self.heads.tick(now)
            self._hotswap.tick(now)
        except StorageError as error:
            self._context.emit(StorageFailed(error))
            self._context.wake_at(now + self._config.stall_pause)
