"""Cores that are open because clients, or readers, use them: downloaded whole, and followed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from time import perf_counter, thread_time
from typing import NamedTuple

from hypercore.aio import Durable
from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.cores.link import Link
from hypercore.aio.cores.session import Hypercore
from hypercore.core import Change
from hypercore.errors import LocalProtocolError, StorageError
from hypercore.replication import PeerClosed

from .records import Record, RecordTable

MAX_KEPT = 1 << 14
"""Cores that are open for clients and readers. Beyond it one closes that only readers use, the oldest use
first; without any, the connection with most of them loses the one that it used longest ago. Ours
(official: none)."""

MAX_KEPT_OF_CLIENT = 1 << 12
"""The same for one connection: appends to further ones are seen at its next connection. Ours."""

MAX_LOADING = 64
"""Cores of one connection that are opened ahead of those that are complete. Ours."""

MAX_QUEUED = 1 << 16
"""Cores of one connection that wait to be opened; further ones are dropped until it names them again.
Ours."""

MAX_ALL_QUEUED = 1 << 19
"""The same of all connections; while there are more, only those with fewer than MIN_QUEUED get more. Ours."""

MIN_QUEUED = 256
"""Cores of each connection that may wait, however many wait for others. Ours."""

MAX_SWEPT = 1024
"""Open cores of which one check finds out whether they are still used. Ours."""

TURN_SECONDS = 0.001
"""Seconds in which cores are opened and closed in one turn of the event loop, for all connections. Ours."""


class Progress(NamedTuple):
    """A durable change of a core."""

    record: Record
    news: bool
    """Whether its length has changed."""
    complete: bool
    """Whether it has become complete, at this length."""


class Requester:
    """A connection on which cores are opened, and those that wait for it."""

    __slots__ = ("kept", "link", "loading", "pumped", "queue")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.queue: deque[bytes] = deque()
        self.loading: set[bytes] = set()
        """Opened for it, and not complete."""
        self.kept: dict[bytes, None] = {}
        """Opened for it, the oldest use first."""
        self.pumped = False
        """Whether it waits for its turn to open cores."""


class KeptCore:
    """One open core."""

    __slots__ = ("complete", "record", "requesters", "session")

    def __init__(self, record: Record, session: Hypercore) -> None:
        self.record = record
        self.session = session
        self.requesters: dict[Requester, None] = {}
        self.complete = False


class KeptCores:
    """`on_progress` is called with each change, `now_ms` returns milliseconds of the Unix clock."""

    def __init__(
        self,
        cores: Corestore,
        records: RecordTable,
        *,
        max_blocks: int | None,
        on_progress: Callable[[Progress], None],
        now_ms: Callable[[], int],
        max_kept: int = MAX_KEPT,
        max_of_client: int = MAX_KEPT_OF_CLIENT,
    ) -> None:
        self._cores = cores
        self._records = records
        self._max_blocks = max_blocks
        self._on_progress = on_progress
        self._now_ms = now_ms
        self._max_kept = max_kept
        self._max_of_client = max_of_client
        self._kept: dict[bytes, KeptCore] = {}
        """By key, the oldest use first."""
        self._unrequested: dict[bytes, None] = {}
        """Those of them that no client has asked for, the oldest use first."""
        self._requesters: dict[Requester, None] = {}
        """Connections for which cores are open."""
        self._loop = asyncio.get_running_loop()
        self._pumped: deque[Requester] = deque()
        """Connections that wait for their turn to open a core."""
        self._turn: asyncio.Handle | None = None
        self._queued = 0
        """Cores that wait, of all connections."""
        self._unused: dict[bytes, None] = {}
        """Cores to close, if they are in no use when it is their turn."""
        self._swept: Iterator[bytes] = iter(())

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: bytes) -> bool:
        return key in self._kept

    # --- opening

    def request(self, requester: Requester, key: bytes) -> bool:
        """Download a core on that connection, when it is its turn. False if too many wait. Give the key of
        the record: millions may wait."""
        waiting = len(requester.queue)
        if waiting >= MAX_QUEUED or (waiting >= MIN_QUEUED and self._queued >= MAX_ALL_QUEUED):
            return False
        requester.queue.append(key)
        self._queued += 1
        return True

    def pump(self, requester: Requester, *, stalled: bool = False) -> None:
        """Open the next cores of a connection, soon. `stalled`: a second has passed, so that cores that stay
        incomplete hold up no others."""
        if stalled:
            requester.loading.clear()
        if requester.queue and not requester.pumped:
            requester.pumped = True
            self._pumped.append(requester)
            self._schedule()

    def _schedule(self) -> None:
        if (self._pumped or self._unused) and self._turn is None:
            self._turn = self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        """Close and open cores for a short time, one for each connection in turn: complete ones are not
        bounded by MAX_LOADING, and a client may name tens of thousands. A peer pays for what it opens."""
        self._turn = None
        until = perf_counter() + TURN_SECONDS
        try:
            while self._pumped or self._unused:
                if self._unused:
                    self._close_next()
                if self._pumped:
                    requester = self._pumped.popleft()
                    requester.pumped = False
                    began = thread_time()
                    more = self._open_next(requester)
                    requester.link.charge(thread_time() - began)
                    if more:
                        self.pump(requester)
                if perf_counter() >= until:
                    break
        finally:
            self._schedule()

    def _close_next(self) -> None:
        key = next(iter(self._unused))
        del self._unused[key]
        kept = self._kept.get(key)
        if kept is not None and not kept.requesters and not kept.session.peers:
            self.close(key)

    def _open_next(self, requester: Requester) -> bool:
        """Open one core of a connection. Returns whether it may open another now."""
        if not requester.queue or len(requester.loading) >= MAX_LOADING:
            return False
        key = requester.queue.popleft()
        self._queued -= 1
        record = self._records.get(key)
        if record is None or requester.link.muxer.closed:
            return True  # deleted meanwhile
        kept = self._open(record)
        if kept is None or not self._cores.open_on(kept.session, requester.link):
            self.request(requester, key)  # no room for channels, or the disk: later
            return False
        self._requesters[requester] = None
        kept.requesters[requester] = None
        self._unrequested.pop(key, None)
        requester.kept.pop(key, None)
        requester.kept[key] = None
        if not kept.complete:
            requester.loading.add(key)
        if len(requester.kept) > self._max_of_client:
            self._shrink(requester)
        return True

    def serve(self, record: Record) -> None:
        """A peer has opened a core: follow its writer while it is open."""
        kept = self._open(record)
        if kept is not None and not kept.requesters:
            self._unrequested.pop(record.key, None)
            self._unrequested[record.key] = None

    def _open(self, record: Record) -> KeptCore | None:
        kept = self._kept.pop(record.key, None)
        if kept is None:
            if len(self._kept) >= self._max_kept:
                self._close_one()
            try:
                session = self._cores.get(record.key, active=True, everywhere=False)
            except StorageError:
                return None  # the corestore has reported it
            kept = KeptCore(record, session)
            session.subscribe(lambda notice: self._on_notice(kept, notice))
            session.download(self._fits(kept))
            core = session.core
            kept.complete = core.length > 0 and core.durable_complete
        self._kept[record.key] = kept
        return kept

    def _fits(self, kept: KeptCore) -> bool:
        """Whether it has no more blocks than a core may, and its client no more bytes. The engine downloads
        announced cores anyway."""
        if self._max_blocks is not None and kept.session.length > self._max_blocks:
            return False
        return kept.record.announce or self._records.has_bytes(kept.record.client)

    # --- closing

    def leave(self, requester: Requester) -> None:
        """The connection has ended. Its cores close soon: there are thousands."""
        self._discard_queue(requester)
        requester.loading.clear()
        self._requesters.pop(requester, None)
        for key in list(requester.kept):
            self._release(key, requester)

    def _discard_queue(self, requester: Requester) -> None:
        self._queued -= len(requester.queue)
        requester.queue.clear()

    def close(self, key: bytes) -> None:
        """Close a core if it is open."""
        kept = self._kept.pop(key, None)
        self._unrequested.pop(key, None)
        if kept is not None:
            for requester in kept.requesters:
                requester.kept.pop(key, None)
                requester.loading.discard(key)
            kept.session.close()
            if not kept.session.length:
                self._discard_empty(key)

    def close_unused(self) -> None:
        """Close cores that no connection uses any more, and download those whose clients may have more bytes
        again. Visits some of them in each call."""
        swept = list(islice(self._swept, MAX_SWEPT))
        if len(swept) < MAX_SWEPT:
            self._swept = iter(list(self._kept))
            swept += islice(self._swept, MAX_SWEPT - len(swept))
        for key in swept:
            kept = self._kept.get(key)
            if kept is not None:
                kept.session.download(self._fits(kept))
                self._close_unused(kept)

    def close_all(self) -> None:
        """Close every core, and open no more of those that wait."""
        for requester in self._pumped:
            self._discard_queue(requester)
        self._unused.clear()
        for key in list(self._kept):
            self.close(key)

    def delete(self, key: bytes) -> bool:
        """Delete the content of a core; peers that have it open see that its blocks are gone. False if it is
        in use by others, so that it must be tried again. Raises StorageError."""
        self.close(key)
        if self._cores.stored(key) is None:
            return True
        session = self._cores.get(key, active=False)
        try:
            session.core.clear(0)
        finally:
            session.close()
        try:
            self._cores.remove(key)
        except LocalProtocolError:
            return False
        return True

    def _release(self, key: bytes, requester: Requester) -> None:
        requester.kept.pop(key, None)
        requester.loading.discard(key)
        kept = self._kept.get(key)
        if kept is not None:
            kept.requesters.pop(requester, None)
            if not kept.requesters:
                self._unrequested[key] = None
            self._close_unused(kept)

    def _close_unused(self, kept: KeptCore) -> None:
        if not kept.requesters and not kept.session.peers:
            self._unused[kept.record.key] = None
            self._schedule()

    def _discard_empty(self, key: bytes) -> None:
        """A core of which nothing is stored need not be in the store: clients may name any number of keys."""
        with suppress(LocalProtocolError, StorageError):
            info = self._cores.stored(key)
            if info is not None and not info.length:
                self._cores.remove(key)

    def _close_one(self) -> None:
        """Readers may open any core, so theirs close before those that clients have downloaded."""
        if self._unrequested:
            self.close(next(iter(self._unrequested)))
            return
        largest = max(self._requesters, key=lambda requester: len(requester.kept), default=None)
        key = next(iter(largest.kept if largest is not None and largest.kept else self._kept))
        self.close(key)

    def _shrink(self, requester: Requester) -> None:
        oldest = next((key for key in requester.kept if key not in requester.loading), None)
        if oldest is not None:
            self._release(oldest, requester)

    # --- changes

    def _on_notice(self, kept: KeptCore, notice: object) -> None:
        if isinstance(notice, Durable):
            self._durable(kept)
        elif isinstance(notice, Change):
            if notice.upgraded and not self._fits(kept):
                kept.session.download(False)
        elif isinstance(notice, PeerClosed):
            self._records.touch(kept.record, self._now_ms())
            self._close_unused(kept)

    def _durable(self, kept: KeptCore) -> None:
        """Blocks, or a head, are durable: so is the record, soon."""
        core, record, now_ms = kept.session.core, kept.record, self._now_ms()
        length = core.durable_head.length
        complete = length > 0 and core.durable_complete
        news = length != record.length
        completed = complete and (news or not kept.complete)
        kept.complete = complete
        record.length = length
        self._records.hold(record, core.have_bytes, core.bitfield.count)
        if not self._fits(kept):
            kept.session.download(False)
        record.collected = record.collected and not record.held_blocks
        record.active = max(record.active, now_ms)
        if news:
            record.updated = now_ms
        if news or completed:
            self._records.save(record)
        else:
            self._records.touch(record, now_ms)
        if complete:
            for requester in kept.requesters:
                requester.loading.discard(record.key)
                self.pump(requester)
        if news or completed:
            self._on_progress(Progress(record, news, completed))
