"""A data directory that is only read: on a read-only disk, of another user, or while an engine uses it.

Nothing is locked, made or changed. The database is seen as it was when it was opened (one transaction of
SQLite, which does not delay a running engine) until `renew`. Blocks are verified against it when they are
read, so a block that an engine frees or replaces meanwhile is missing, never wrong.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path
from urllib.parse import quote

from ..errors import StorageError, StoreUnreadable
from .base import Batch
from .block_files import MAX_OPEN_FILES, BlockFiles
from .crash_points import ignore
from .disk import DATABASE_NAME, DiskBackend
from .disk_errors import database_error, disk_error
from .schema import require_format


class ReadOnlyDisk(DiskBackend):
    """Implements the reads of `Backend`. Raises StoreUnreadable for a missing or unreadable store."""

    read_only = True

    def __init__(self, directory: Path, *, max_open_files: int = MAX_OPEN_FILES) -> None:
        self.directory = directory
        self._step = ignore
        self._last_id = 0
        self._files = BlockFiles(directory / "blocks", max_open=max_open_files)
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            self._reader = _open(directory / DATABASE_NAME, undo)
            self._undo = undo.pop_all()
        self.closed = False

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._files.close()
            self._undo.close()

    def release(self) -> None:
        """End the transaction: the engine may recycle its log. The next read sees the newest state."""
        if self._reader.in_transaction:
            self._reader.execute("COMMIT")

    def renew(self) -> None:
        """See the newest state from now on. What was read before stays valid as long as the fork of its core
        does: compare the row. Raises StorageError."""
        try:
            self.release()
            self._reader.execute("BEGIN")
        except sqlite3.Error as error:
            raise database_error(error, f"cannot read {self.directory / DATABASE_NAME}") from error

    def commit(self, batch: Batch) -> None:
        raise StorageError(f"{self.directory} was opened for reading alone")


def _open(path: Path, undo: contextlib.ExitStack) -> sqlite3.Connection:
    """A connection with an open transaction. Raises StorageError or a subclass."""
    try:
        if not path.is_file():
            raise StoreUnreadable(f"there is no {path}")
        # A running engine has this file beside the database. Without it SQLite would make it.
        if path.with_name(path.name + "-shm").exists():
            with contextlib.suppress(sqlite3.OperationalError):
                return _connect(path, undo)
        return _connect_without_log(path, undo)
    except OSError as error:
        raise disk_error(error, f"cannot read {path}") from error
    except sqlite3.Error as error:
        raise database_error(error, f"cannot read {path}") from error


def _connect_without_log(path: Path, undo: contextlib.ExitStack) -> sqlite3.Connection:
    log = path.with_name(path.name + "-wal")
    if not log.exists() or log.stat().st_size == 0:
        return _connect(path, undo, "immutable=1")
    # The log left by a crash is a part of the database: join them in a copy
    copy = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="hypercore-")))
    for source in (path, log):
        shutil.copyfile(source, copy / source.name)
    return _connect(copy / path.name, undo)


def _connect(path: Path, undo: contextlib.ExitStack, mode: str = "mode=ro") -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()), errors='surrogateescape')}?{mode}"
    db = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        db.execute("PRAGMA query_only = ON")
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("BEGIN")
        require_format(db, path)
    except BaseException:
        db.close()
        raise
    undo.callback(db.close)
    return db
