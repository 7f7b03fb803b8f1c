"""A core in use: its replicator, its timer, and the calls that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from time import monotonic
from typing import NamedTuple

from ...core import Change, Core
from ...errors import BlockNotAvailable, RemoteProtocolError
from ...replication import (
    Conflict,
    Event,
    FieldBudget,
    PeerClosed,
    PeerMisbehaved,
    PeerOpened,
    PeerView,
    RateLimit,
    ReplicationConfig,
    Replicator,
    Suspicions,
)
from ..subscription import Subscription
from ..timer import DeadlineTimer
from .link import Link


class Durable(NamedTuple):
    """Blocks start..end can no longer be lost in a crash."""

    runs: list[tuple[int, int]]


Notice = Event | Change | Durable
"""What subscribers get: an event of the replication, a change of the core, or blocks made durable."""


class RemotePeer:
    """A peer that replicates one core with us. Keeps its counters after it has gone."""

    __slots__ = ("_peer", "_stats", "link", "remote_public_key")

    def __init__(self, peer: PeerView, link: Link) -> None:
        self.remote_public_key = link.connection.remote_public_key
        self.link = link
        self._peer = peer
        self._stats = peer.stats

    @property
    def bytes_in(self) -> int:
        """Bytes of verified blocks received from it."""
        return self._stats.bytes_down

    @property
    def bytes_out(self) -> int:
        """Bytes of blocks sent to it."""
        return self._stats.bytes_up

    def has(self, index: int) -> bool:
        """Whether it announced that block."""
        return self._peer.down.availability.has(index)

    @property
    def ahead(self) -> bool:
        """Whether it may have more than we do: it has not reported its length yet, or reports more."""
        return not self._peer.synced or self._peer.ahead

    @property
    def has_news(self) -> bool:
        """Whether it reports a longer core or a higher fork than ours."""
        return self._peer.ahead


class ActiveCore:
    """The replication state of a core, shared by its sessions. Open while the core has a session or a peer
    that reads it."""

    def __init__(
        self,
        core: Core,
        *,
        loop: asyncio.AbstractEventLoop,
        config: ReplicationConfig,
        link_of: Callable[[PeerView], Link | None],
        on_change: Callable[[], None],
        on_idle: Callable[[ActiveCore], None],
        on_active: Callable[[ActiveCore], None],
        on_misbehaviour: Callable[[Link, RemoteProtocolError], None],
        on_conflict: Callable[[Core], None],
        conflicting: bool,
        upload: RateLimit,
        download: RateLimit,
        downloads_paused: bool,
        fields: FieldBudget,
        suspicions: Suspicions,
    ) -> None:
        self.core = core
        self.replicator = Replicator(
            core,
            config=config,
            on_wake=self._wake,
            upload=upload,
            download=download,
            fields=fields,
            suspicions=suspicions,
        )
        self.replicator.download_ranges = ()
        self._on_conflict = on_conflict
        if conflicting:
            self.replicator.freeze()
        self.sessions = 0
        self._active = 0
        self._everywhere = 0
        """Active sessions that want every connection."""
        self._downloaders = 0
        self._downloads_paused = downloads_paused
        self._fork_limits: dict[object, int | None] = {}
        """Fork limit of each session that set one. None: any fork."""
        self._loop = loop
        self._link_of = link_of
        self._on_store_change = on_change
        self._on_idle = on_idle
        self._on_active = on_active
        self._on_misbehaviour = on_misbehaviour
        self._peers: dict[PeerView, RemotePeer] = {}
        self._subscribers: dict[Subscription[Notice], None] = {}
        self._waiters: dict[int, list[asyncio.Future[bytes]]] = {}
        self._scheduled = False
        self._timer = DeadlineTimer(loop, self._on_timer)
        core.add_listener(self._on_change)

    @property
    def peers(self) -> Collection[RemotePeer]:
        """Peers whose channel is open on both sides."""
        return self._peers.values()

    @property
    def declined(self) -> Collection[bytes]:
        """Public keys of connected peers that do not have the core."""
        return self.replicator.declined

    @property
    def idle(self) -> bool:
        return self.sessions == 0 and not self._peers

    # --- sessions

    @property
    def active(self) -> bool:
        """Whether a session wants its writer followed, on the connections that have its channel."""
        return self._active > 0

    @property
    def everywhere(self) -> bool:
        """Whether a session wants its channel opened on every connection."""
        return self._everywhere > 0

    def add_session(self) -> None:
        self.sessions += 1

    def drop_session(self) -> None:
        self.sessions -= 1
        self._check_idle()

    def add_active(self, change: int, *, everywhere: bool) -> None:
        """Count a session that became active, or inactive."""
        was_active, was_everywhere = self.active, self.everywhere
        self._active += change
        if everywhere:
            self._everywhere += change
        if self.replicator.closed:
            return
        if self.active is not was_active:
            self.replicator.set_downloading(self.active, monotonic())
        if self.everywhere and not was_everywhere:
            self._on_active(self)

    def count_downloader(self, change: int) -> None:
        """Count a session that wants every block, or no longer does."""
        self._downloaders += change
        self._set_download_ranges()

    def set_downloads_paused(self, paused: bool) -> None:
        """True: fetch no blocks except those that are read; False: all if a session wants them."""
        self._downloads_paused = paused
        self._set_download_ranges()

    def _set_download_ranges(self) -> None:
        every_block = self._downloaders and not self._downloads_paused
        self.replicator.download_ranges = ((0, None),) if every_block else ()

    def limit_forks(self, session: object, up_to: int | None) -> None:
        """A session follows the writer up to this fork; None: any fork."""
        self._fork_limits[session] = up_to
        self._apply_fork_limits()

    def drop_fork_limit(self, session: object) -> None:
        """The session is closed. The limit of the last one stays in force."""
        if len(self._fork_limits) > 1 and session in self._fork_limits:
            del self._fork_limits[session]
            self._apply_fork_limits()

    def _apply_fork_limits(self) -> None:
        limits = [limit for limit in self._fork_limits.values() if limit is not None]
        lowest = min(limits, default=None)
        if lowest != self.replicator.max_fork and not self.replicator.closed:
            self.replicator.max_fork = lowest

    def subscribe(self, callback: Callable[[Notice], None]) -> Callable[[], None]:
        """`callback` is called on the loop. Call the result to unsubscribe."""
        return Subscription(callback, self._subscribers)

    def mark_dirty(self) -> None:
        """The core has changes that are not on disk yet."""
        self._on_store_change()

    # --- blocks

    async def wait_for_block(self, index: int, pending: set[asyncio.Future[bytes]]) -> bytes:
        """The block, once it is stored. The wait is a future in `pending`; an exception set there ends
        it."""
        future: asyncio.Future[bytes] = self._loop.create_future()
        pending.add(future)
        self._waiters.setdefault(index, []).append(future)
        try:
            if self.replicator.request_block(index, monotonic()):
                self._deliver(index)
            return await future
        finally:
            pending.discard(future)
            waiters = self._waiters.get(index)
            if waiters is not None and future in waiters:
                waiters.remove(future)
                if not waiters:
                    del self._waiters[index]
                    if not self.replicator.closed:
                        self.replicator.cancel_block(index, monotonic())

    def _deliver(self, index: int) -> None:
        if index not in self._waiters:
            return
        block = self.core.get(index)
        if block is None:
            return
        for future in self._waiters.pop(index):
            if not future.done():
                future.set_result(block)

    # --- what happens

    def on_durable(self, runs: list[tuple[int, int]]) -> None:
        """A flush has made blocks, and the head, durable."""
        self.replicator.on_durable(runs, monotonic())
        self._notify(Durable(runs))

    def _on_change(self, change: Change) -> None:
        self._on_store_change()
        if change.block is not None:
            self._deliver(change.block)
        elif change.appended is not None and self._waiters:
            for index in range(*change.appended):
                self._deliver(index)
        self._notify(change)

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._drain_events()
        self._timer.set(self.replicator.next_deadline())

    def _on_timer(self, now: float) -> None:
        self.replicator.handle_timer(now)
        self._turn()

    def _drain_events(self) -> None:
        while (event := self.replicator.next_event()) is not None:
            if isinstance(event, PeerOpened):
                link = self._link_of(event.peer)
                if link is not None and event.peer.opened:
                    self._peers[event.peer] = RemotePeer(event.peer, link)
            elif isinstance(event, PeerClosed):
                self._peers.pop(event.peer, None)
                self._check_idle()
            elif isinstance(event, Conflict):
                self._on_conflict(self.core)
            elif isinstance(event, PeerMisbehaved) and event.fatal:
                link = self._link_of(event.peer)
                if link is not None:
                    self._on_misbehaviour(link, event.error)
            self._notify(event)

    def _notify(self, notice: Notice) -> None:
        for subscription in tuple(self._subscribers):
            subscription.callback(notice)

    def _check_idle(self) -> None:
        if self.idle:
            self._on_idle(self)

    def close(self) -> None:
        """End replication and all waits."""
        self.replicator.close(monotonic())
        self.core.remove_listener(self._on_change)
        self._timer.cancel()
        self._drain_events()
        for index, waiters in self._waiters.items():
            for future in waiters:
                if not future.done():
                    future.set_exception(BlockNotAvailable(f"the core was closed before block {index} came"))
        self._waiters.clear()
