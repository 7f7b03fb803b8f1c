"""Slow requests: those to silent peers are cancelled, and late blocks are requested from idle peers as well.

Runs on the timer of the replicator, and only while requests are in flight.
"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from ..bitfield import Bitfield
from .config import MAX_HOLDERS, MIN_HOTSWAP, ReplicationConfig
from .context import ReplicatorContext, Requester
from .interfaces import PeerView
from .requests import InflightRequest, Purpose

HEAD_TIMEOUT = 3.0
"""Seconds after which an upgrade is requested from another peer that offers it."""
FIRST_HEAD_TIMEOUT = 0.5
"""The same for a peer that has given nothing of the core yet; doubles each time, up to HEAD_TIMEOUT. A first
contact with a core waits this long for each silent peer that claims a longer head. Ours."""
MIN_HEAD_ROUND_TRIPS = 4
"""Least timeout for such a peer, in its round trips. Ours."""

MAX_LATE = 4096
"""Number of oldest requests that are checked. Ours: eight peers have this many in flight."""
MAX_LATE_PAGES = 64
"""Pages of 32,768 blocks in which late blocks are handled at a time; others wait. Ours."""
MAX_SWAPS = 256
"""Late blocks requested from further peers at a time, twice a second; takes some milliseconds. A helping peer
gets more with each answer. Ours."""


class Late(NamedTuple):
    """Blocks whose requests are late."""

    urgent: Bitfield
    """Blocks that readers wait for."""
    others: Bitfield


class Hotswap:
    def __init__(self, downloader: Requester, config: ReplicationConfig, context: ReplicatorContext) -> None:
        self._downloader = downloader
        self._requests = downloader.requests
        self._scheduler = downloader.scheduler
        self._config = config
        self._context = context

    def tick(self, now: float) -> None:
        """Handle the timer: act on late requests, and set it again if requests are in flight.

        Raises StorageError.
        """
        self._expire(now)
        if len(self._context.peers) > 1:
            self._hotswap(now)
        self._next_tick(now)

    def answered(self, peer: PeerView, now: float) -> None:
        """A peer without blocks of its own to give answered. If it helps, it gets the next late blocks when
        half of its last ones are stored. At the pace of the timer, a full window of requests to a vanished
        peer would delay the download until its timeout."""
        oldest = self._requests.oldest()
        if oldest is None or now - oldest.sent_at < self._config.hotswap_after:
            return
        room = self._hotswap_room(peer, now)
        if room > len(peer.down.inflight):
            late = self._late(now)
            asked = self._help(peer, late.urgent, room, now)
            self._help(peer, late.others, room - asked, now)

    def _next_tick(self, now: float) -> None:
        config, oldest = self._config, self._requests.oldest()
        if oldest is not None:
            at = now + config.check_interval
            if len(self._context.peers) == 1:
                at = max(at, oldest.sent_at + config.request_timeout)
            self._context.wake_at(at)
        for peer in self._context.peers:
            down = peer.down
            if now >= down.stalled_until > 0:
                down.stalled_until = 0.0
                peer.mark_dirty()
            if now >= down.backoff_until > 0:
                down.reset_backoff()
                peer.mark_dirty()
            elif down.backoff_until:
                self._context.wake_at(down.backoff_until)
            if down.record is not None and down.record.avoided:
                peer.mark_dirty()  # its `channel_flush` starts trials when they are due

    def _expire(self, now: float) -> None:
        timeout = self._config.request_timeout
        expired: list[InflightRequest] = []
        for sent in self._requests:
            age = now - sent.sent_at
            if age < min(timeout, FIRST_HEAD_TIMEOUT):
                break
            if age >= timeout and (now - sent.peer.down.last_heard >= timeout or age >= 4 * timeout):
                expired.append(sent)
            elif sent.purpose in (Purpose.UPGRADE, Purpose.PROOF):
                timeout = self._head_timeout(sent.peer)
                if age < timeout or not self._downloader.could_ask_elsewhere(sent):
                    continue
                if timeout < HEAD_TIMEOUT:
                    sent.peer.down.head_failures += (
                        1  # it is asked again after the others, with a longer timeout
                    )
                else:
                    self._downloader.refused_head(sent.peer, now)
                expired.append(sent)
        for sent in expired:
            down = sent.peer.down
            if now - sent.sent_at >= timeout:
                down.max_inflight = 1
                down.broken_claims += sent.index is not None
                down.head_failures += sent.purpose in (Purpose.UPGRADE, Purpose.PROOF)
                down.stalled_until = now + self._config.stall_pause
                self._context.wake_at(down.stalled_until)
                sent.peer.stats.timeouts += 1
        if expired:
            self._context.fullness.reported(now)
            self._downloader.cancel_requests(expired)

    def _head_timeout(self, peer: PeerView) -> float:
        """Seconds for its answer to a request about its head while other peers offer it."""
        if self._context.fullness.is_source(peer):
            return HEAD_TIMEOUT
        first = FIRST_HEAD_TIMEOUT * 2.0 ** min(peer.down.head_failures, 8)
        return min(HEAD_TIMEOUT, max(first, MIN_HEAD_ROUND_TRIPS * (peer.rtt or 0.0)))

    def _hotswap(self, now: float) -> None:
        """Request late blocks from idle peers, and those that a reader waits for from any peer."""
        rooms = {peer: self._hotswap_room(peer, now) for peer in self._context.peers if peer.may_be_asked}
        if not self._scheduler.has_explicit and not any(room > 0 for room in rooms.values()):
            return
        late, swaps = self._late(now), MAX_SWAPS
        # Peers that gave most come first: announcements of the others may be false
        for peer in sorted(rooms, key=lambda peer: peer.stats.blocks_down, reverse=True):
            urgent = self._help(peer, late.urgent, swaps, now)
            swaps -= urgent + self._help(peer, late.others, min(rooms[peer], swaps) - urgent, now)

    def _late(self, now: float) -> Late:
        """Late blocks that may be requested from another peer. Checks the oldest MAX_LATE requests."""
        late = Late(Bitfield(max_pages=MAX_LATE_PAGES), Bitfield(max_pages=MAX_LATE_PAGES))
        for sent in islice(self._requests, MAX_LATE):
            if now - sent.sent_at < self._config.hotswap_after:
                break
            index = sent.index
            if index is None or sent.purpose is not Purpose.BLOCK:
                continue
            if len(self._requests.requests_for(index)) < MAX_HOLDERS:
                (late.urgent if self._scheduler.is_explicit(index) else late.others).set(index)
        return late

    def _help(self, peer: PeerView, late: Bitfield, room: int, now: float) -> int:
        """Request up to `room` late blocks from a peer, and remove these from `late`. Returns their number.

        The cost grows with the requests made, not with the late blocks: there may be hundreds of peers
        without blocks.
        """
        asked, start, end = 0, 0, peer.valid_end()
        while asked < room:
            index = peer.down.availability.first_in(late, start, end)
            if index is None:
                break
            if all(holder.peer is not peer for holder in self._requests.requests_for(index)):
                self._downloader.ask_block(peer, index, now, urgent=self._scheduler.is_explicit(index))
                late.unset(index)
                asked += 1
            start = index + 1
        return asked

    def _hotswap_room(self, peer: PeerView, now: float) -> int:
        """Number of late blocks of others that a peer may get; 0 while it is busy or does not answer."""
        if not peer.down.starved or now < peer.down.stalled_until:
            return 0
        full = self._downloader.window_of(peer)
        return max(0, min(full, max(MIN_HOTSWAP, full // 2)) - len(peer.down.inflight))
