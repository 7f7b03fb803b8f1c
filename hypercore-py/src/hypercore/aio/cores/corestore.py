"""Cores of one store, replicated over any number of connections.

    async with Corestore(disk_store(directory)) as cores:
        core = cores.get(key)
        cores.replicate(connection)           # for every connection of the swarm
        print(await core.get(0))

Unused cores cost only disk: one is opened when a peer opens its discovery key, and closed when it was unused
for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from time import monotonic

from ...connection import Connection
from ...core import Core, Store
from ...crypto import discovery_key
from ...errors import LocalProtocolError, RemoteProtocolError, StorageError
from ...keys import encode_key
from ...mux import Muxer
from ...replication import ALIAS, PROTOCOL, FieldBudget, PeerView, ReplicationConfig, Suspicions
from ...replication.ratelimit import BLOCK_OVERHEAD
from ...storage.base import CoreInfo
from ...storage.core_storage import INLINE_MAX_BYTES
from .active_core import ActiveCore
from .flusher import Flusher, Runs
from .idle_queue import IdleQueue
from .link import Hub, Link
from .openings import Openings
from .session import Hypercore
from .throttle import Throttle

IDLE_SECONDS = 10.0
"""How long a core stays open after its last session and its last peer are gone."""

MAX_DIRTY_BYTES = 64 << 20
"""Bytes of blocks in memory that are not flushed. Above it, no connection is read."""

DATABASE_SLACK = 1 << 20
"""Bytes of the database that are not counted for cores: its own tables, partly filled pages."""

MAX_CHANNELS = 32768
"""Channels on one connection. Further cores are not opened there, and a peer's opens are rejected. Each
channel costs about five kilobytes. Ours (corestore: none)."""

MAX_ALL_CHANNELS = 65536
"""Channels on all connections together; while there are more, only connections with fewer than MIN_CHANNELS
get more. Ours."""
MIN_CHANNELS = 64
"""Channels that each connection may have, however many there are on others. Ours."""
COUNT_SECONDS = 0.25
"""How often they are counted, at most."""

DETACHED_AT_ONCE = 32
"""Cores from which an ended connection is removed between two looks at the clock: 20 microseconds. Ours."""

_CONFLICT = "conflict/"
"""Prefix of names in the store's meta. The rest of the name is the key of a core with two signed histories,
the value the fork and length of the stored history."""

log = logging.getLogger(__name__)


class Corestore:
    """Owns `store` and closes it. `config` is for the replication of all cores.

    A core without sessions is closed when it was idle for `idle_seconds`, its object in `store` too: a
    program that writes one keeps a session of it.

    `on_error` is called when the disk refuses something, `on_misbehaviour` with the public key of a peer that
    was disconnected for violating the protocol, `on_core_requested` with the discovery key of a core without
    sessions when a peer opens it.
    """

    def __init__(
        self,
        store: Store,
        *,
        config: ReplicationConfig | None = None,
        idle_seconds: float = IDLE_SECONDS,
        max_channels: int = MAX_CHANNELS,
        on_error: Callable[[StorageError], None] | None = None,
        on_misbehaviour: Callable[[bytes, Exception], object] | None = None,
        on_core_requested: Callable[[bytes], None] | None = None,
    ) -> None:
        self.store = store
        self._on_error = on_error
        self._on_misbehaviour = on_misbehaviour
        self.upload = Throttle(asyncio.get_running_loop())
        """Limits the bytes sent to all peers together; unlimited at first."""
        self.download = Throttle(asyncio.get_running_loop())
        """Limits the bytes requested from all peers together; unlimited at first."""
        self._on_core_requested = on_core_requested
        self.fields = FieldBudget()
        """Budget for the announced blocks of all peers."""
        self.suspicions = Suspicions()
        """Requests that failed, by core and peer."""
        self._config = config or ReplicationConfig()
        self._max_channels = max_channels
        self._channels = 0
        """Channels on all connections together, when last counted."""
        self._counted_at = float("-inf")
        self._loop = asyncio.get_running_loop()
        self._open: dict[bytes, ActiveCore] = {}
        """By discovery key."""
        self._idle = IdleQueue(self._loop, idle_seconds, self._retire)
        self.hub = Hub(self._loop)
        """Shares time and memory among the connections."""
        self._links: dict[Muxer, Link] = {}
        self._openings = Openings(
            self._open, lambda opened, link: self._attach(opened, link.muxer, monotonic())
        )
        self._conflicts = {bytes.fromhex(name[len(_CONFLICT) :]) for name in store.meta_names(_CONFLICT)}
        self._pause_reasons: set[str] = set()
        """Why downloads are paused; empty while they run."""
        self._held = False
        self._closed = False
        self._flusher = Flusher(
            store,
            loop=self._loop,
            on_durable=self._on_durable,
            on_flushed=self._on_flushed,
            on_error=self._on_storage_error,
        )

    async def __aenter__(self) -> Corestore:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def links(self) -> int:
        """Connections that are replicated over."""
        return sum(not muxer.closed for muxer in self._links)

    @property
    def open_cores(self) -> int:
        """Cores in memory."""
        return len(self._open)

    @property
    def received_bytes(self) -> int:
        """Bytes of verified blocks that peers have given since the start, each with BLOCK_OVERHEAD."""
        return self.download.limit.received

    def stored_bytes(self) -> int:
        """Bytes that the blocks of all cores take. Reads the row of every core, so call it seldom.

        Each block counts its content and BLOCK_OVERHEAD. If the database is larger than these overheads (many
        separate blocks have many tree nodes), its size counts instead. The content of a core that is neither
        open nor complete is estimated from the number of its blocks. Raises StorageError.
        """
        used = {opened.core.key: opened.core.have_bytes for opened in self._open.values()}
        content = inline = blocks = 0
        for info in self.store.cores():
            size = used.get(info.key)
            if size is None:
                size = info.byte_length * info.have // info.length if info.length else 0
            content += size
            blocks += info.have
            if info.byte_length <= INLINE_MAX_BYTES:
                inline += size
        database = self.store.database_bytes() - inline - DATABASE_SLACK
        return content + max(BLOCK_OVERHEAD * blocks, database)

    # --- cores

    def get(self, key: bytes, *, active: bool = True, everywhere: bool = True) -> Hypercore:
        """A session of the core of `key`; the store adds the core if it lacks it. Raises StorageError.

        `active`: see `Hypercore.set_active`. `everywhere`: open its channel on every connection; else call
        `open_on`.
        """
        if self._closed:
            raise LocalProtocolError("the corestore is closed")
        name = discovery_key(key)
        opened = self._open.get(name)
        if opened is None:
            core = self.store.open_core(key)
            assert core is not None  # it is made if there is none
            opened = self._use(core)
        self._idle.discard(name)
        return Hypercore(opened, active=active, everywhere=everywhere)

    def open_on(self, core: Hypercore, link: Link) -> bool:
        """Open the channel of a session's core on one connection. False if there is no room for it there."""
        opened = self._open.get(core.discovery_key)
        return opened is not None and self._attach(opened, link.muxer, monotonic())

    def stored(self, key: bytes) -> CoreInfo | None:
        """Head and counts of a stored core, without opening it; None if it is not stored. Raises
        StorageError."""
        return self.store.info(key)

    def has_conflict(self, key: bytes) -> bool:
        """Whether two histories signed by the writer were found, in this run or an earlier one.

        Such a core fetches nothing; stored blocks are read and served. Removing the core deletes this record.
        """
        return key in self._conflicts

    def _on_conflict(self, core: Core) -> None:
        self._conflicts.add(core.key)
        self.store.set_meta(_CONFLICT + core.key.hex(), b"%d %d" % (core.fork, core.length))
        self._flusher.touch()

    def _use(self, core: Core) -> ActiveCore:
        opened = ActiveCore(
            core,
            loop=self._loop,
            config=self._config,
            link_of=self._link_of,
            on_change=self._on_change,
            on_idle=self._on_idle,
            on_active=self._on_active,
            on_misbehaviour=self._cut_off,
            on_conflict=self._on_conflict,
            conflicting=core.key in self._conflicts,
            upload=self.upload.limit,
            download=self.download.limit,
            downloads_paused=self.downloads_paused,
            fields=self.fields,
            suspicions=self.suspicions,
        )
        opened.replicator.set_downloading(False, monotonic())
        self._open[core.discovery_key] = opened
        if self.store.dirty:
            self._flusher.touch()  # it may have changes from before we subscribed
        return opened

    def _on_active(self, opened: ActiveCore) -> None:
        self._openings.activated(opened, list(self._links.values()))

    def _attach(self, opened: ActiveCore, muxer: Muxer, now: float) -> bool:
        if not self._has_room(muxer, now) and muxer.channel(PROTOCOL, opened.core.discovery_key) is None:
            return False
        return opened.replicator.attach(muxer, now) is not None

    def _has_room(self, muxer: Muxer, now: float) -> bool:
        """Whether one more channel may be opened on the connection."""
        if muxer.channels >= self._max_channels:
            return False
        if muxer.channels < MIN_CHANNELS:
            return True
        if now >= self._counted_at + COUNT_SECONDS:
            self._counted_at = now
            self._channels = sum(other.channels for other in self._links)
        return self._channels < MAX_ALL_CHANNELS

    def _on_idle(self, opened: ActiveCore) -> None:
        if not self._closed:
            self._idle.add(opened.core.discovery_key)

    def _retire(self, name: bytes) -> None:
        """Close a core that was unused for a while."""
        opened = self._open[name]
        if opened.idle:
            del self._open[name]
            opened.close()
            self.store.close_core(opened.core)

    def remove(self, key: bytes) -> bool:
        """Delete a core and its blocks: it is no longer served. False if it is not stored.

        Durable with the next flush. Raises LocalProtocolError while it has sessions.
        """
        name = discovery_key(key)
        opened = self._open.get(name)
        if opened is not None:
            if opened.sessions:
                raise LocalProtocolError("the core is in use")
            del self._open[name]
            opened.close()
            self._idle.discard(name)  # closing its channels may have queued it
        removed = self.store.remove_core(key)
        if key in self._conflicts:
            self._conflicts.discard(key)
            self.store.set_meta(_CONFLICT + key.hex(), None)
        self._flusher.touch()
        return removed

    # --- pausing

    @property
    def downloads_paused(self) -> bool:
        """Whether there is a reason to pause downloads."""
        return bool(self._pause_reasons)

    def pause_downloads(self, reason: str) -> None:
        """Fetch no blocks of any core, except those that a program reads, until `resume_downloads` has been
        called for every reason. Stored blocks are served, and writers are followed.

        For a single core call `Hypercore.download`.
        """
        if not self._pause_reasons:
            self._set_downloads_paused(True)
        self._pause_reasons.add(reason)

    def resume_downloads(self, reason: str) -> None:
        """Remove a reason. Without any, the blocks that sessions want are fetched again."""
        if self._pause_reasons == {reason}:
            self._set_downloads_paused(False)
        self._pause_reasons.discard(reason)

    def _set_downloads_paused(self, paused: bool) -> None:
        for opened in self._open.values():
            opened.set_downloads_paused(paused)

    # --- connections

    def replicate(self, connection: Connection) -> Link:
        """Open channels on `connection` for active cores, and for stored ones when the peer asks."""
        if self._closed:
            raise LocalProtocolError("the corestore is closed")
        link = Link(
            connection,
            loop=self._loop,
            on_close=self._on_link_close,
            hub=self.hub,
            open_more=self._openings.open_more,
        )
        muxer = link.muxer
        self._links[muxer] = link
        muxer.add_alias(ALIAS, PROTOCOL)

        def asked_for(name: bytes | None, now: float) -> bool:
            return self._on_remote_open(muxer, name, now)

        muxer.on_open(PROTOCOL, asked_for)
        self._openings.begin(link)
        if self._held:
            link.hold(True)
        return link

    def _on_remote_open(self, muxer: Muxer, name: bytes | None, now: float) -> bool:
        if name is None:
            return False
        opened = self._open.get(name)
        if opened is None:
            try:
                key = self.store.find(name)
                core = None if key is None else self.store.open_core(key, create=False)
            except StorageError as error:
                self._on_storage_error(error)
                return False
            if core is None:
                return False
            opened = self._use(core)
            self._on_idle(opened)
        attached = self._attach(opened, muxer, now)
        if attached and not opened.sessions and self._on_core_requested is not None:
            self._on_core_requested(name)
        return attached

    def _link_of(self, peer: PeerView) -> Link | None:
        return self._links.get(peer.muxer)

    def _on_link_close(self, link: Link, error: Exception | None) -> Iterator[None]:
        self._openings.leave(link)
        if isinstance(error, RemoteProtocolError):
            self._report_misbehaviour(link, error)
        return self._detach(link)

    def _detach(self, link: Link) -> Iterator[None]:
        """Remove an ended connection from all cores, after its channels were closed. Until then they count in
        MAX_ALL_CHANNELS."""
        now = monotonic()
        for number, opened in enumerate(list(self._open.values())):
            opened.replicator.detach(link.muxer, now)  # it remembers connections without a channel, too
            if number % DETACHED_AT_ONCE == 0:
                yield
        self._links.pop(link.muxer, None)
        self.suspicions.disconnected(link.connection.remote_public_key)

    def _cut_off(self, link: Link, error: RemoteProtocolError) -> None:
        link.connection.destroy(error)

    def _report_misbehaviour(self, link: Link, error: RemoteProtocolError) -> None:
        log.warning("cut off peer %s: %s", encode_key(link.connection.remote_public_key), error)
        if self._on_misbehaviour is not None:
            self._on_misbehaviour(link.connection.remote_public_key, error)

    # --- the disk

    async def flush(self) -> None:
        """Returns when all changes so far are durable. Raises StorageError."""
        await self._flusher.flush()

    def mark_dirty(self) -> None:
        """The program has changed values of the store: flush them soon."""
        self._flusher.touch()

    def _on_change(self) -> None:
        self._flusher.touch()
        if not self._held and self.store.dirty_bytes > MAX_DIRTY_BYTES:
            self._hold(True)

    def _on_durable(self, core: Core, runs: Runs) -> None:
        opened = self._open.get(core.discovery_key)
        if opened is not None and opened.core is core:
            opened.on_durable(runs)

    def _on_flushed(self) -> None:
        if self._held and self.store.dirty_bytes <= MAX_DIRTY_BYTES // 2:
            self._hold(False)

    def _hold(self, held: bool) -> None:
        self._held = held
        for link in self._links.values():
            link.hold(held)

    def _on_storage_error(self, error: StorageError) -> None:
        if self._on_error is not None:
            self._on_error(error)

    # --- the end

    async def close(self) -> None:
        """End replication, make everything durable, close the store. Raises StorageError if that fails.

        Connections are closed gracefully; their owner may do so before.
        """
        if self._closed:
            return
        self._closed = True
        self._idle.close()
        for opened in self._open.values():
            opened.close()
        for link in list(self._links.values()):
            link.connection.close()
        self.upload.close()
        self.download.close()
        try:
            await self._flusher.close()
        finally:
            self._open.clear()
            self.store.close()
