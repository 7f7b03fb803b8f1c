"""Cores that engines of this machine have stored, read while the engines run.

An engine's database is seen in transactions of RENEW_SECONDS at most: it can recycle its log, and a fork
that it follows meanwhile is noticed. Blocks are hashed when they are read (`hashed.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from time import monotonic

from hypercore.core import Core, Store, StoredRun
from hypercore.crypto import discovery_key
from hypercore.errors import SnapshotNotAvailable, StorageError
from hypercore.storage.base import CoreRow
from hypercore.storage.disk import DATABASE_NAME
from hypercore.storage.readonly import ReadOnlyDisk

from .hashed import HashedCores

RENEW_SECONDS = 0.25
"""Longest time that reading goes on in one transaction."""

PAGE_CACHE_BYTES = 2 << 20
"""Bytes of tree pages that are kept for one open drive: those of 2 GiB in blocks of 64 KiB."""

OPEN_FILES = 2
"""Block files that are kept open for one drive."""

MAX_ENGINES = 64
"""Engines of one worker that are looked into (`worker run --shards`)."""

log = logging.getLogger(__name__)
_hashed = HashedCores()


class StoredCore:
    """A core of a `StoredDrive`. `get` and `byte_range` raise SnapshotNotAvailable once the engine has it on
    another fork."""

    def __init__(self, drive: StoredDrive, core: Core, row: CoreRow) -> None:
        self._drive = drive
        self.core = core
        self._row = row
        self.hashed = _hashed.of(drive.directory, core.key, core.fork)

    def get(self, index: int) -> bytes | None:
        """The block, verified; None if it is not stored."""
        self._drive.begin()
        return self.core.get(index)

    def run(self, start: int, end: int, max_bytes: int) -> StoredRun | None:
        """The blocks from `start` on that can be read at once; None: read them one by one."""
        self._drive.begin()
        return self.core.stored_run(start, end, max_bytes)

    def has(self, index: int) -> bool:
        return self.core.has(index)

    def byte_range(self, index: int) -> tuple[int, int]:
        """Return byte offset and size of a block. Raises BlockNotAvailable."""
        self._drive.begin()
        return self.core.byte_range(index)

    def state(self) -> tuple[int, int, int, bool]:
        """Return a value that changes when the engine stores more blocks."""
        row = self._drive.row(self.core.discovery_key)
        return (-1, 0, 0, False) if row is None else _state(row)

    @property
    def is_current(self) -> bool:
        """Whether the engine has stored nothing else since this was opened."""
        return self.state() == _state(self._row)

    def check_fork(self) -> None:
        """Raise SnapshotNotAvailable if the engine has truncated the core since it was opened."""
        if self.state()[0] != self.core.fork:
            raise SnapshotNotAvailable("the core was truncated while it was read")


class StoredDrive:
    """The cores of one drive in one engine's data directory."""

    def __init__(self, directory: Path) -> None:
        """Raises StorageError."""
        self.directory = directory
        self._backend = ReadOnlyDisk(directory, max_open_files=OPEN_FILES)
        self._store = Store(self._backend, page_cache_bytes=PAGE_CACHE_BYTES)
        self._log = directory / f"{DATABASE_NAME}-shm"
        self._was_running = self._log.exists()
        self._cores: dict[bytes, StoredCore] = {}
        self._began_at = monotonic()

    def open(self, key: bytes) -> StoredCore | None:
        """A core with blocks; None if it is not stored."""
        found = self._cores.get(key)
        if found is None:
            core = self._store.open_core(key, create=False)
            row = None if core is None else self.row(core.discovery_key)
            if core is None or row is None or not core.length:
                return None
            found = self._cores[key] = StoredCore(self, core, row)
        return found

    def row(self, name: bytes) -> CoreRow | None:
        """Return the row of the core with this discovery key, as the database has it now, or None."""
        return self._backend.read_row(name)

    @property
    def is_current(self) -> bool:
        """Whether all is as it was when it was opened. If not, open another one."""
        self._backend.renew()
        self._began_at = monotonic()
        return self._log.exists() == self._was_running and all(
            core.is_current for core in self._cores.values()
        )

    def begin(self) -> None:
        """Something is read now. Raises SnapshotNotAvailable if a core is on another fork by now."""
        now = monotonic()
        if now - self._began_at > RENEW_SECONDS:
            self._began_at = now
            self._backend.renew()
            for core in self._cores.values():
                core.check_fork()

    def rest(self) -> None:
        """End the transaction: nothing was read for a while."""
        if monotonic() - self._began_at > RENEW_SECONDS:
            self._began_at = float("-inf")
            self._backend.release()

    def close(self) -> None:
        """Close the database and the block files."""
        self._store.close()


def find(key: bytes, directories: Iterable[Path]) -> StoredDrive | None:
    """The drive in the first engine that has blocks of it."""
    for directory in _engines(directories):
        try:
            drive = StoredDrive(directory)
        except StorageError as error:
            log.info("cannot look into %s: %s", directory, error)
            continue
        try:
            if drive.row(discovery_key(key)) is not None and drive.open(key) is not None:
                return drive
        except StorageError as error:
            log.warning("cannot read %s: %s", directory, error)
        drive.close()
    return None


def _engines(directories: Iterable[Path]) -> list[Path]:
    """The directories of engines in those of workers and lone peers."""
    found: list[Path] = []
    for directory in directories:
        places = [directory, *sorted(directory.glob("engine-*"))[:MAX_ENGINES]]
        found += [place for place in places if (place / DATABASE_NAME).is_file()]
    return found


def _state(row: CoreRow) -> tuple[int, int, int, bool]:
    return row.fork, row.length, row.contiguous, row.in_file
