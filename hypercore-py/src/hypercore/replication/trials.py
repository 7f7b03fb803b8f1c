"""Repeats, apart from others, requests that may have ended a connection: see `suspicion.py`."""

from __future__ import annotations

import logging

from .config import ReplicationConfig
from .context import ReplicatorContext, Requester
from .events import BackedOff
from .interfaces import PeerView
from .requests import InflightRequest
from .suspicion import FIRST_TRIAL, HEAD, MAX_DOUBTED, MAX_FALSE_ALARMS, Record

log = logging.getLogger(__name__)

MAX_QUIET_WAIT = 10.0
"""Seconds that trials wait at most for all other transfers from the peer, of any core. Ours."""


class Trials:
    """The trials of one core."""

    def __init__(self, downloader: Requester, config: ReplicationConfig, context: ReplicatorContext) -> None:
        self._downloader = downloader
        self._config = config
        self._context = context

    def doubt(self, peer: PeerView, index: int, end: int, now: float) -> bool:
        """Whether a block is kept for a trial, since the peer may have no proof of it: see
        `Availability.may_lack_proof`. Such a request can cost the connection, so all others go first."""
        down = peer.down
        remote = peer.muxer.remote_public_key
        if not remote or not down.availability.may_lack_proof(index, end):
            return False
        record = down.record
        if record is None:
            record = self._context.suspicions.record(remote, peer.core.key)
            down.remember(record)
        if record.false_alarms >= MAX_FALSE_ALARMS or len(record.doubted) >= MAX_DOUBTED:
            return False
        others_wait = bool(record.suspects)
        if not self._context.suspicions.suspect(record, index):
            return False
        log.debug("%r may have no proof of block %d, which is left for last", peer, index)
        record.doubted[index] = None
        if not others_wait:  # otherwise the trials would never begin
            record.retry_at = max(record.retry_at, now + self._config.doubt_delay)
        self._context.wake_at(record.retry_at)
        return True

    def announced(self, peer: PeerView, record: Record) -> None:
        """The peer has announced more blocks: drop doubted blocks that are no longer before a gap."""
        end, availability = peer.valid_end(), peer.down.availability
        for index in list(record.doubted):
            if index not in record.testing and not availability.may_lack_proof(index, end):
                record.drop(index)
                peer.down.cursor = min(peer.down.cursor, index)

    def fill(self, peer: PeerView, record: Record, now: float) -> None:
        """Start as many trials as are allowed."""
        record.state = (peer.remote_fork, peer.remote_length)
        record.expire_refusals(now)
        next_at = record.next_at(now)
        if next_at is not None:
            self._context.wake_at(next_at)
        if not record.suspects or now < record.retry_at:
            return
        quiet_at = peer.muxer.answered_at + self._config.doubt_delay
        if now < quiet_at and now < record.retry_at + MAX_QUIET_WAIT:
            self._context.wake_at(
                quiet_at
            )  # other answers are coming, which the end of the connection would interrupt
            return
        if not self._context.suspicions.may_test(
            peer.muxer.remote_public_key, peer.core.key, peer.mark_dirty
        ):
            return
        for index in list(record.suspects):
            if len(record.testing) >= record.window:
                break
            if index not in record.testing:
                self._test(peer, record, index, now)
        if not record.testing:
            record.retry_at = now + FIRST_TRIAL  # checking all of them takes a while: not at each message
        self._check_over(peer, record)

    def _test(self, peer: PeerView, record: Record, index: int, now: float) -> None:
        downloader, scheduler = self._downloader, self._downloader.scheduler
        if index == HEAD:
            before = len(peer.down.inflight)
            record.testing[index] = None
            downloader.try_head(peer, now)
            if len(peer.down.inflight) == before:
                record.testing.pop(index, None)
            return
        if peer.core.bitfield.get(index) or index >= peer.core.head.length:
            record.drop(index)  # the block was stored meanwhile, or the peer has dropped it
            return
        explicit = scheduler.is_explicit(index)
        wanted = explicit or (self._context.downloading and scheduler.in_ranges(index))
        there = peer.down.availability.announces(index) and index < peer.valid_end()
        if wanted and there and not scheduler.is_claimed(index):
            record.testing[index] = None
            downloader.ask_block(peer, index, now, urgent=explicit)

    def answered(self, peer: PeerView, record: Record, sent: InflightRequest) -> bool:
        """The peer has answered the request, so it is harmless. False if it was no trial."""
        index = sent.subject
        if index not in record.avoided:
            return False
        record.answered(index)
        peer.mark_dirty()
        return True

    def taken(self, peer: PeerView, record: Record, sent: InflightRequest) -> None:
        """A request is over, with an answer or without."""
        if sent.subject in record.testing:
            del record.testing[sent.subject]
            self._check_over(peer, record)

    def ended(self, peer: PeerView, now: float) -> None:
        """The peer has ended the connection."""
        asked = [sent.subject for sent in self._downloader.requests.of(peer)]
        remote, suspicions = peer.muxer.remote_public_key, self._context.suspicions
        if asked:
            log.debug("%r: the connection ended with %d requests unanswered", peer, len(asked))
        gave = peer.stats.blocks_down > 0
        refused = suspicions.ended(remote, peer.core.key, asked, now, gave=gave)
        record = suspicions.find(remote, peer.core.key)
        for index, seconds in refused:
            what = "its head" if index == HEAD else f"block {index}"
            log.debug("%r ends the connection at %s, not repeated for %d s", peer, what, seconds)
            self._context.emit(
                BackedOff(remote, f"ends the connection when it is asked for {what}", round(seconds))
            )
            if record is not None and index != HEAD:
                self._refuse_alike(peer, record, index, now)
        suspicions.tests_over(remote, peer.core.key)

    def _refuse_alike(self, peer: PeerView, record: Record, refused: int, now: float) -> None:
        """Refuse the neighbours of a refused block before the same gap, so that they cost no connections."""
        availability, end = peer.down.availability, peer.valid_end()
        if availability.may_lack_proof(refused, end):
            for index in [index for index in record.suspects if index != HEAD]:
                if availability.may_lack_proof(index, end):
                    record.refuse(index, now)

    def _check_over(self, peer: PeerView, record: Record) -> None:
        if not record.testing:
            self._context.suspicions.tests_over(peer.muxer.remote_public_key, peer.core.key)
