"""All cores of one peer, and the flushes that make them durable.

The store and its cores belong to one thread (that of the event loop). A flush is prepared there, written in
any other thread, and finished there again:

    flush = store.prepare_flush()        # quick: copies the changes
    flush.run()                          # slow: writes and syncs
    durable = flush.finish()             # quick: which blocks of which cores are durable now

One flush runs at a time; later changes wait for the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from threading import Event, Lock

from ..crypto import KeyPair, discovery_key
from ..errors import LocalProtocolError, RemoteProtocolError
from ..manifest import Manifest
from ..merkle.head import TreeHead
from ..storage.base import Backend, Batch, CoreInfo, CoreRow
from ..storage.block_files import MAX_OPEN_FILES
from ..storage.core_storage import CoreStorage, Shared
from ..storage.disk import DiskBackend, core_info
from ..storage.memory import MemoryBackend
from ..storage.node_pages import PageCache
from ..storage.readonly import ReadOnlyDisk
from .core import Core
from .meta_changes import MetaChanges

PAGE_CACHE_BYTES = 16 << 20
"""Bytes of memory for unchanged tree pages of all cores."""


class FlushState(Enum):
    """State of a flush. After CLOSED the next one may begin."""

    PREPARED = "prepared"
    RUNNING = "running"
    WRITTEN = "written"
    FAILED = "failed"
    CLOSED = "closed"


class FlushStep(Enum):
    """Inputs of a flush."""

    RUN = "run"
    SUCCEED = "succeed"
    FAIL = "fail"
    FINISH = "finish"
    ABANDON = "abandon"


TRANSITIONS: Mapping[tuple[FlushState, FlushStep], FlushState] = {
    (FlushState.PREPARED, FlushStep.RUN): FlushState.RUNNING,
    (FlushState.PREPARED, FlushStep.ABANDON): FlushState.CLOSED,
    (FlushState.RUNNING, FlushStep.SUCCEED): FlushState.WRITTEN,
    (FlushState.RUNNING, FlushStep.FAIL): FlushState.FAILED,
    (FlushState.WRITTEN, FlushStep.FINISH): FlushState.CLOSED,
    (FlushState.WRITTEN, FlushStep.ABANDON): FlushState.CLOSED,
    (FlushState.FAILED, FlushStep.ABANDON): FlushState.CLOSED,
}
"""All that can happen to a flush; anything else is a mistake of the caller. One that is running when it is
abandoned goes on, and is only marked (`Flush.detached`); one that is closed stays so."""


class Flush:
    """One flush: see the module. If `run` raises, all changes stay in memory: `abandon` it and prepare
    another one later."""

    def __init__(self, store: Store, batch: Batch, cores: list[tuple[Core, TreeHead]]) -> None:
        self._store = store
        self._batch = batch
        self._cores = cores
        self._ran = Event()
        self._moving = Lock()
        """Guards steps, which the running thread and that of the store make."""
        self.state = FlushState.PREPARED
        self.detached = False
        """Whether it was abandoned while running; the store then handles its end."""

    def run(self) -> None:
        """Make the changes durable. Blocks; may run in any thread. Raises StorageError or a subclass."""
        self._move(FlushStep.RUN)
        try:
            self._store.backend.commit(self._batch)
            self._move(FlushStep.SUCCEED)
        except BaseException:
            self._move(FlushStep.FAIL)
            raise
        finally:
            self._ran.set()

    def wait(self) -> None:
        """Wait for `run` in another thread."""
        self._ran.wait()

    def finish(self) -> list[tuple[Core, list[tuple[int, int]]]]:
        """Call it in the thread of the store after `run`. Returns the written cores, each with the runs of
        blocks (start, end) that became durable."""
        self._move(FlushStep.FINISH)
        return self._store.flush_finished(self._cores)

    def abandon(self) -> None:
        """Call it in the thread of the store: the changes are written by the next flush.

        If it is still running (its task was cancelled, for example), the store handles its end, success or
        failure.
        """
        with self._moving:
            if self.state is FlushState.RUNNING:
                self.detached = True
                return
            if self.state is FlushState.CLOSED:
                return
            self._step(FlushStep.ABANDON)
        self._store.flush_abandoned(self._cores)

    def _move(self, step: FlushStep) -> None:
        with self._moving:
            self._step(step)

    def _step(self, step: FlushStep) -> None:
        state = TRANSITIONS.get((self.state, step))
        if state is None:
            raise LocalProtocolError(f"a flush that is {self.state.value} cannot {step.value}")
        self.state = state


class Store:
    """Cores over a backend. Use `disk_store` or `memory_store` to get one."""

    def __init__(self, backend: Backend, *, page_cache_bytes: int = PAGE_CACHE_BYTES) -> None:
        self.backend = backend
        self._shared = Shared(backend, PageCache(page_cache_bytes))
        self._open: dict[bytes, Core] = {}
        """Open cores by discovery key, and closed ones until they are durable."""
        self._closing: set[bytes] = set()
        self._removed: set[int] = set()
        self._removing: set[int] = set()
        self._meta = MetaChanges()
        self._saving_meta = MetaChanges()
        self._flush: Flush | None = None
        self.closed = False

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- cores

    def open_core(self, key: bytes, *, create: bool = True) -> Core | None:
        """The core of a key, one object as long as it is open. None if it is not stored and `create` is
        false."""
        name = discovery_key(key)
        core = self._open.get(name)
        if core is not None:
            self._closing.discard(name)
            return core
        row = self._stored_row(name)
        if row is None:
            if not create:
                return None
            row = CoreRow(self.backend.next_id(), key, name, None, 0, 0, 0, b"", None, 0, False, None)
            storage = CoreStorage(self._shared, row, {})
            storage.touch()
        else:
            storage = CoreStorage(self._shared, row, self.backend.read_bit_pages(row.id))
        core = self._open[name] = Core(storage)
        return core

    def create_core(
        self, key_pair: KeyPair, *, manifest: Manifest | None = None, compat: bool = False
    ) -> Core:
        """A writable core, with the default manifest of the key pair, a given one, or (compat) none."""
        manifest = manifest or Manifest.default(key_pair.public_key)
        core = self.open_core(key_pair.public_key if compat else manifest.key())
        assert core is not None
        if core.manifest is None:
            core.set_manifest(manifest)
        return core

    def close_core(self, core: Core) -> None:
        """Drop the object when it is durable: it can be read from then on, not changed. The core stays
        stored."""
        name = core.discovery_key
        if self._open.get(name) is core:
            self._closing.add(name)
            self._evict_closed()

    def remove_core(self, key: bytes) -> bool:
        """Delete a core and its data; durable with the next flush. False if it is not stored."""
        name = discovery_key(key)
        core = self._open.pop(name, None)
        if core is not None:
            self._closing.discard(name)
            core.storage.remove()
            core_id = core.storage.id
        else:
            row = self._stored_row(name)
            if row is None:
                return False
            core_id = row.id
        self.backend.close_files(core_id)
        self._removed.add(core_id)
        return True

    def find(self, name: bytes) -> bytes | None:
        """The key of the stored core with discovery key `name`."""
        core = self._open.get(name)
        if core is not None:
            return core.key
        if self._removed or self._removing:
            row = self._stored_row(name)
            return None if row is None else row.key
        return self.backend.find_key(name)

    def info(self, key: bytes) -> CoreInfo | None:
        """The current state of a core, without opening it. None if it is not stored."""
        name = discovery_key(key)
        core = self._open.get(name)
        if core is not None:
            return _info(core)
        row = self._stored_row(name)
        if row is None:
            return None
        pages = {} if row.contiguous >= row.length else self.backend.read_bit_pages(row.id)
        return core_info(row, pages)

    def cores(self) -> list[CoreInfo]:
        """The current state of every core."""
        stored = self.backend.core_infos()
        infos = {info.discovery_key: info for core_id, info in stored if not self._is_gone(core_id)}
        for name, core in self._open.items():
            infos[name] = _info(core)
        return list(infos.values())

    def manifests(self, after: int, limit: int) -> tuple[list[tuple[bytes, Manifest]], int]:
        """Key and manifest of the stored cores that have one, about `limit` at a time.

        `after` is 0 at first, then the number that the previous call returned, which is 0 at the end.
        """
        rows = self.backend.core_manifests(after, limit)
        found: list[tuple[bytes, Manifest]] = []
        if not after:  # open cores first: they may not be on disk yet
            found += [(core.key, core.manifest) for core in self._open.values() if core.manifest is not None]
        for core_id, key, encoded in rows:
            if not self._is_gone(core_id):
                with suppress(RemoteProtocolError):  # a corrupt one
                    found.append((key, Manifest.from_bytes(encoded)))
        return found, rows[-1][0] if len(rows) == limit else 0

    def stored_manifest(self, key: bytes) -> Manifest | None:
        """The manifest of a core, without opening it. None if it is not known."""
        name = discovery_key(key)
        core = self._open.get(name)
        if core is not None:
            return core.manifest
        row = self._stored_row(name)
        return None if row is None or row.manifest is None else Manifest.from_bytes(row.manifest)

    @property
    def open_cores(self) -> int:
        """Number of cores in memory."""
        return len(self._open)

    # --- key and value

    def meta_names(self, prefix: str) -> list[str]:
        """The names (ASCII) of values that begin with `prefix`, in order."""
        names = set(self.backend.meta_names(prefix))
        for changes in (self._saving_meta, self._meta):
            for name, value in changes.with_prefix(prefix):
                if value is None:
                    names.discard(name)
                else:
                    names.add(name)
        return sorted(names)

    def get_meta(self, name: str) -> bytes | None:
        """A value that the program stores; None without one."""
        for waiting in (self._meta, self._saving_meta):
            if name in waiting:
                return waiting[name]
        return self.backend.read_meta(name)

    def set_meta(self, name: str, value: bytes | None) -> None:
        """Set a value; None deletes it. Durable with the next flush."""
        self._meta[name] = value

    # --- flushing

    @property
    def dirty(self) -> bool:
        """Whether there are changes to flush."""
        return not self.backend.read_only and bool(self._shared.dirty or self._removed or self._meta)

    @property
    def dirty_bytes(self) -> int:
        """Bytes of blocks in memory that are not durable, including those of a running flush."""
        return self._shared.dirty_bytes

    def prepare_flush(self) -> Flush | None:
        """A flush of all changes. None if there are none, or a flush is running."""
        if self._flush is not None and (self._flush.detached or self._flush.state is FlushState.FAILED):
            self._await_flush(wait=False)
        if self._flush is not None or not self.dirty:
            return None
        batch = Batch()
        cores: list[tuple[Core, TreeHead]] = []
        try:
            for storage in list(self._shared.dirty):
                core = self._open[storage.discovery_key]
                first, then = core.snapshot_changes()
                cores.append((core, core.head))
                if first is not None:
                    batch.first.append(first)
                batch.then.append(then)
        except BaseException:
            for core, _ in cores:
                core.storage.rollback()
            raise
        self._removing, self._removed = self._removed, set()
        self._saving_meta, self._meta = self._meta, MetaChanges()
        batch.removed = sorted(self._removing)
        batch.meta = self._saving_meta.values
        self._flush = Flush(self, batch, cores)
        return self._flush

    def flush(self) -> list[tuple[Core, list[tuple[int, int]]]]:
        """Makes everything durable here and now, for programs without a loop. Raises StorageError."""
        flush = self.prepare_flush()
        if flush is None:
            return []
        try:
            flush.run()
        except BaseException:
            flush.abandon()
            raise
        return flush.finish()

    def flush_finished(self, cores: list[tuple[Core, TreeHead]]) -> list[tuple[Core, list[tuple[int, int]]]]:
        """Called by the flush."""
        durable = []
        for core, head in cores:
            runs = core.commit(head)
            if not core.storage.removed:
                durable.append((core, runs))
        self._removing, self._saving_meta, self._flush = set(), MetaChanges(), None
        self._evict_closed()
        return durable

    def flush_abandoned(self, cores: list[tuple[Core, TreeHead]]) -> None:
        """Called by the flush."""
        for core, _ in cores:
            core.storage.rollback()
        self._removed |= self._removing
        self._meta = self._meta.over(self._saving_meta)
        self._removing, self._saving_meta, self._flush = set(), MetaChanges(), None

    def disk_bytes(self) -> int:
        """Bytes taken on disk. Looks at every file: for now and then, not for every block."""
        return self.backend.disk_bytes()

    def database_bytes(self) -> int:
        """Bytes in use in the database: trees, bitfields, blocks of small cores. Quick to ask for."""
        return self.backend.database_bytes()

    def close(self) -> None:
        """Flush and close. Raises StorageError if the flush fails; the store is closed then as well."""
        if self.closed:
            return
        self.closed = True
        try:
            self._await_flush()
            self.flush()
        finally:
            self.backend.close()

    # --- inside

    def _await_flush(self, *, wait: bool = True) -> None:
        """Handle the end of a running flush."""
        flush = self._flush
        if flush is None:
            return
        if flush.state is FlushState.RUNNING:
            if not wait:
                return
            flush.wait()
        if flush.state is FlushState.WRITTEN:
            flush.finish()
        else:
            flush.abandon()

    def _evict_closed(self) -> None:
        """Drop closed cores that are durable."""
        for name in [name for name in self._closing if self._open[name].storage.clean]:
            self._closing.discard(name)
            self._open.pop(name).storage.closed = True

    def _stored_row(self, name: bytes) -> CoreRow | None:
        row = self.backend.read_row(name)
        return None if row is None or self._is_gone(row.id) else row

    def _is_gone(self, core_id: int) -> bool:
        return core_id in self._removed or core_id in self._removing


def _info(core: Core) -> CoreInfo:
    have = core.bitfield.count
    return CoreInfo(core.key, core.discovery_key, core.fork, core.length, core.byte_length, have, core.meta)


def disk_store(
    directory: Path, *, page_cache_bytes: int = PAGE_CACHE_BYTES, max_open_files: int = MAX_OPEN_FILES
) -> Store:
    """The store in a directory, which is made if missing.

    Raises StoreLocked if another process has it open, StoreUnreadable if it is foreign, damaged, of a newer
    format or not accessible, StoreFull if there is no space to make it.
    """
    backend = DiskBackend(directory, max_open_files=max_open_files)
    return Store(backend, page_cache_bytes=page_cache_bytes)


def read_only_store(
    directory: Path, *, page_cache_bytes: int = PAGE_CACHE_BYTES, max_open_files: int = MAX_OPEN_FILES
) -> Store:
    """A snapshot of the store in a directory, for reading: nothing is locked, made or changed, and an engine
    may use it at the same time. Cores that are not stored cannot be opened.

    Raises StoreUnreadable if it is missing, foreign, damaged, of a newer format or not readable.
    """
    backend = ReadOnlyDisk(directory, max_open_files=max_open_files)
    return Store(backend, page_cache_bytes=page_cache_bytes)


def memory_store() -> Store:
    """A store in memory."""
    return Store(MemoryBackend())
