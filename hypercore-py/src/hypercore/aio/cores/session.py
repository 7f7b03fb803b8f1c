"""A session of a core: reading, following and downloading it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from time import monotonic

from ...core import Core
from ...errors import LocalProtocolError
from ...manifest import Manifest
from ...replication import Fullness
from .active_core import ActiveCore, Notice, RemotePeer

UPDATE_TIMEOUT = 10.0
"""Seconds that `update` waits for peers to report what they have, or to prove it."""

PREFETCH_BLOCKS = 512
"""Blocks that a session requests ahead of its readers. Further hints are ignored."""


class Hypercore:
    """A session: a handle on a core of a corestore, made by `Corestore.get`. A `BlockSource` (see
    `hypercore.blocks`), so bees and drives read from it.

    While a session is open and active its core is replicated on every connection of the corestore. Blocks are
    fetched when read, or, after `download`, all of them. An inactive session serves peers that open the core,
    and emits `UpgradeAvailable` when one of them has more. One that is not for every connection
    (`everywhere`) follows the writer on those that have its channel: see `Corestore.open_on`.
    """

    def __init__(self, opened: ActiveCore, *, active: bool = True, everywhere: bool = True) -> None:
        self._open = opened
        self._everywhere = everywhere
        self._loop = asyncio.get_running_loop()
        self._downloading = False
        self._active = False
        self._closed = False
        self._prefetched: dict[int, None] = {}
        self._unsubscribers: list[Callable[[], None]] = []
        self._waiting: dict[asyncio.Event, None] = {}
        self._pending: set[asyncio.Future[bytes]] = set()
        """Reads that wait for a block."""
        opened.add_session()
        self.set_active(active)

    async def __aenter__(self) -> Hypercore:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Hypercore {self.key.hex()[:8]} length {self.length} of fork {self.fork}>"

    # --- facts

    @property
    def core(self) -> Core:
        """The stored core."""
        return self._open.core

    @property
    def key(self) -> bytes:
        return self._open.core.key

    @property
    def discovery_key(self) -> bytes:
        """The hash that names the core to peers, 32 bytes."""
        return self._open.core.discovery_key

    @property
    def length(self) -> int:
        return self._open.core.length

    @property
    def byte_length(self) -> int:
        """Bytes of all blocks."""
        return self._open.core.byte_length

    @property
    def fork(self) -> int:
        return self._open.core.fork

    @property
    def manifest(self) -> Manifest | None:
        return self._open.core.manifest

    @property
    def fullness(self) -> Fullness:
        """Whether the core is as full as it can be, and the number of unavailable blocks."""
        return self._open.replicator.fullness

    @property
    def frozen(self) -> bool:
        """Whether the writer signed two histories: nothing more is fetched."""
        return self._open.replicator.frozen

    @property
    def meta(self) -> bytes | None:
        """Bytes that the program stores with the core. Setting them starts a flush, which makes them
        durable."""
        return self._open.core.meta

    @meta.setter
    def meta(self, value: bytes | None) -> None:
        if value != self._open.core.meta:
            self._open.core.meta = value
            self._open.mark_dirty()

    @property
    def peers(self) -> Collection[RemotePeer]:
        """Peers whose channel is open on both sides."""
        return self._open.peers

    @property
    def declined(self) -> Collection[bytes]:
        """Public keys of connected peers that do not have the core: they have rejected its channel."""
        return self._open.declined

    # --- reading

    def peek(self, index: int) -> bytes | None:
        """The block if it is stored, else None."""
        return self._open.core.get(index) if 0 <= index < self.length else None

    def byte_range(self, index: int) -> tuple[int, int]:
        """(offset, size) in bytes of a block whose proof is stored. Raises BlockNotAvailable."""
        return self._open.core.byte_range(index)

    async def get(self, index: int) -> bytes:
        """Block `index`, from the disk or from a peer, verified.

        Waits without a bound; use `asyncio.timeout`. Raises LocalProtocolError if the session is closed
        meanwhile, BlockNotAvailable if the core is.
        """
        self._must_be_open()
        if index < 0:
            raise LocalProtocolError(f"blocks are counted from 0, got {index}")
        self._prefetched.pop(index, None)
        block = self.peek(index)
        return block if block is not None else await self._open.wait_for_block(index, self._pending)

    def prefetch(self, indices: Sequence[int]) -> None:
        """Start to fetch blocks that will be read soon."""
        if self._closed:
            return
        core, now = self._open.core, monotonic()
        if len(self._prefetched) >= PREFETCH_BLOCKS:
            self._prefetched = dict.fromkeys(index for index in self._prefetched if not core.has(index))
        for index in indices:
            if len(self._prefetched) >= PREFETCH_BLOCKS:
                return
            if index not in self._prefetched and not self._open.replicator.request_block(index, now):
                self._prefetched[index] = None

    async def update(self, timeout: float = UPDATE_TIMEOUT) -> bool:
        """Waits until the core is as long as any peer can prove. True if `length` or `fork` changed.

        An empty core waits for its first peer. Returns after `timeout` seconds at the latest.
        """
        self._must_be_open()
        before = (self.length, self.fork)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.wait_until(self._is_up_to_date)
        return before != (self.length, self.fork)

    def _is_up_to_date(self) -> bool:
        peers = self._open.peers
        if not peers:
            return self.length > 0
        return not any(peer.ahead for peer in peers)

    # --- downloading

    @property
    def active(self) -> bool:
        """Whether it replicates on every connection (True) or only with peers that open the core."""
        return self._active

    def set_active(self, active: bool) -> None:
        """True: replicate the core on every connection and follow its writer; False: only with peers that
        open it."""
        if active is not self._active and not self._closed:
            self._active = active
            self._open.add_active(1 if active else -1, everywhere=self._everywhere)

    def download(self, wanted: bool = True) -> None:
        """Fetch every block, now and as the writer appends (False: stop that). `Corestore.pause_downloads`
        suspends it."""
        if wanted is not self._downloading and not self._closed:
            self._downloading = wanted
            self._open.count_downloader(1 if wanted else -1)

    def follow_forks(self, up_to: int | None) -> None:
        """Follow the writer up to this fork; None: any.

        When a higher one is signed, stored blocks are kept, and `ForkAvailable` is emitted. The lowest limit
        of all open sessions of the core applies.
        """
        self._must_be_open()
        self._open.limit_forks(self, up_to)

    async def synced(self) -> None:
        """Returns when every known block is durable."""
        await self.wait_until(lambda: self.length > 0 and self.core.durable_complete)

    # --- following

    def subscribe(self, callback: Callable[[Notice], None]) -> Callable[[], None]:
        """`callback` is called, on the loop, with every event of the replication and every change of the
        core, and must not block. Call the result, or `close`, to unsubscribe.
        """
        self._must_be_open()
        unsubscribe = self._open.subscribe(callback)
        self._unsubscribers.append(unsubscribe)
        return unsubscribe

    async def wait_until(self, predicate: Callable[[], bool]) -> None:
        """Returns when `predicate` is true. It is called after each change of the core.

        Raises LocalProtocolError if the session is closed before that.
        """
        self._must_be_open()
        event = asyncio.Event()
        unsubscribe = self._open.subscribe(lambda _: event.set())
        self._waiting[event] = None
        try:
            while not predicate():
                event.clear()
                await event.wait()
                self._must_be_open()
        finally:
            self._waiting.pop(event, None)
            unsubscribe()

    # --- the end

    def close(self) -> None:
        """End the session; the core stays stored, and is served to peers that open it."""
        if self._closed:
            return
        self.download(False)
        self.set_active(False)
        self._closed = True
        for unsubscribe in self._unsubscribers:
            unsubscribe()
        self._unsubscribers.clear()
        for event in self._waiting:
            event.set()
        for future in self._pending:
            if not future.done():
                future.set_exception(LocalProtocolError("the session was closed before the block came"))
        self._open.drop_fork_limit(self)
        now = monotonic()
        for index in self._prefetched:
            if not self._open.replicator.closed:
                self._open.replicator.cancel_block(index, now)
        self._open.drop_session()

    def _must_be_open(self) -> None:
        if self._closed:
            raise LocalProtocolError("the session is closed")
