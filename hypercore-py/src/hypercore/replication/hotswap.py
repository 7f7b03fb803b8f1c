"""Looking after what is slow: silent peers lose their requests, idle ones are asked for what others are late
with.

Runs on the timer of the replicator, and only while there is something to wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import MAX_HOLDERS, MIN_HOTSWAP, ReplicationConfig
from .requests import Purpose, Sent
from .upgrades import Host

if TYPE_CHECKING:
    from .downloader import Downloader
    from .peer import Peer

HEAD_PATIENCE = 3.0
"""Seconds after which an upgrade is asked of another peer, if there is one that can give it."""


class Hotswap:
    def __init__(self, downloader: Downloader, config: ReplicationConfig, host: Host) -> None:
        self._downloader = downloader
        self._requests = downloader.requests
        self._scheduler = downloader.scheduler
        self._config = config
        self._host = host

    def tick(self, now: float) -> None:
        """The timer has run out: see to what is late, and set it again if there is more to wait for.

        Raises StorageError.
        """
        self._expire(now)
        if len(self._host.peers) > 1:
            self._hotswap(now)
        self._next_tick(now)

    def answered(self, peer: Peer, now: float) -> None:
        """A peer that has nothing of its own to do answered: if it helps out, it gets the next late blocks as
        soon as half of its last ones are here. At the pace of the timer, a peer that vanished with a full
        window would hold up the download for as long as it takes to notice that it is gone."""
        oldest = self._requests.oldest()
        if oldest is None or now - oldest.sent_at < self._config.hotswap_after:
            return
        if self._hotswap_room(peer, now) > len(peer.down.inflight):
            self._hotswap(now)

    def _next_tick(self, now: float) -> None:
        config, oldest = self._config, self._requests.oldest()
        if oldest is not None:
            at = now + config.check_interval
            if len(self._host.peers) == 1:
                at = max(at, oldest.sent_at + config.request_timeout)
            self._host.wake_at(at)
        for peer in self._host.peers:
            down = peer.down
            if now >= down.stalled_until > 0:
                down.stalled_until = 0.0
                peer.mark_dirty()
            if now >= down.backoff_until > 0:
                down.forgive()
                peer.mark_dirty()
            elif down.backoff_until:
                self._host.wake_at(down.backoff_until)
            if down.record is not None and down.record.avoided:
                peer.mark_dirty()  # it finds out when there is something to try

    def _expire(self, now: float) -> None:
        timeout = self._config.request_timeout
        expired: list[Sent] = []
        for sent in self._requests:
            age = now - sent.sent_at
            if age < min(timeout, HEAD_PATIENCE):
                break
            if age >= timeout and (now - sent.peer.down.last_heard >= timeout or age >= 4 * timeout):
                expired.append(sent)
            elif age >= HEAD_PATIENCE and self._downloader.heads.could_upgrade_elsewhere(sent):
                self._downloader.refused_head(sent.peer, now)
                expired.append(sent)
        for sent in expired:
            down = sent.peer.down
            if now - sent.sent_at >= timeout:
                down.allowance = 1
                down.broken_claims += sent.index is not None
                down.stalled_until = now + self._config.stall_pause
                self._host.wake_at(down.stalled_until)
                sent.peer.stats.timeouts += 1
        if expired:
            self._downloader.take_back(expired)

    def _hotswap(self, now: float) -> None:
        """Ask others, too, for blocks that take long: those that have nothing else to do, and all of them for
        a block that somebody waits for."""
        rooms = {peer: self._hotswap_room(peer, now) for peer in self._host.peers if peer.may_be_asked}
        idle = sum(room > 0 for room in rooms.values())
        for sent in list(self._requests):
            if now - sent.sent_at < self._config.hotswap_after:
                break
            index = sent.index
            if index is None or sent.purpose is not Purpose.BLOCK:
                continue
            urgent = self._scheduler.is_explicit(index)
            if not idle and not urgent:
                if self._scheduler.has_explicit:
                    continue
                break
            peer = self._other_holder(index, rooms, urgent=urgent)
            if peer is not None:
                self._downloader.ask_block(peer, index, now, urgent=urgent)
                rooms[peer] -= 1
                idle -= rooms[peer] == 0

    def _other_holder(self, index: int, rooms: dict[Peer, int], *, urgent: bool) -> Peer | None:
        """A peer that can be asked for a block which others were asked for."""
        holders = self._requests.holders(index)
        if len(holders) >= MAX_HOLDERS:
            return None
        asked = {holder.peer for holder in holders}
        for peer, room in rooms.items():
            if (urgent or room > 0) and peer not in asked and self._downloader.can_give(peer, index):
                return peer
        return None

    def _hotswap_room(self, peer: Peer, now: float) -> int:
        """How many blocks of others a peer may be asked for: none, as long as it is busy or does not
        answer."""
        if not peer.down.hungry or now < peer.down.stalled_until:
            return 0
        full = self._downloader.window_of(peer)
        return max(0, min(full, max(MIN_HOTSWAP, full // 2)) - len(peer.down.inflight))
