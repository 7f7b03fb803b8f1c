"""StorageErrors for errors of the operating system and SQLite, with the cause and what is still safe."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from ..errors import StorageError, StoreFull, StoreReadOnly, StoreUnreadable

KEPT = "what was stored before is intact"

_FULL = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed here",
}
_FORBIDDEN = (errno.EACCES, errno.EPERM)
READ_ONLY = "the file system is read-only (mounted so, or since the disk failed)"


def disk_error(error: OSError, doing: str) -> StorageError:
    """The StorageError for an OSError: StoreFull, StoreUnreadable, or StorageError itself."""
    if error.errno in _FULL:
        return StoreFull(f"{doing}: {_FULL[error.errno]}; {KEPT}")
    if error.errno == errno.EROFS:
        return StoreReadOnly(f"{doing}: {READ_ONLY}; {KEPT}")
    reason = error.strerror or str(error)
    if error.errno in _FORBIDDEN:
        return StoreUnreadable(f"{doing}: {reason}")
    return StorageError(f"{doing}: {reason}; {KEPT}")


def database_error(error: sqlite3.Error, doing: str, directory: Path | None = None) -> StorageError:
    """The StorageError for an error of SQLite. `directory` of the database: it is checked for a read-only
    file system, which SQLite reports as an I/O error."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"{doing}: no space left on the device; {KEPT}")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreUnreadable(f"{doing}: the database is damaged ({error})")
    if code == sqlite3.SQLITE_READONLY:
        return StoreReadOnly(f"{doing}: {READ_ONLY}; {KEPT}")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreUnreadable(f"{doing}: {error}")
    if code == sqlite3.SQLITE_IOERR and directory is not None and _is_read_only(directory):
        return StoreReadOnly(f"{doing}: {READ_ONLY}; {KEPT}")
    return StorageError(f"{doing}: {error}; {KEPT}")


def _is_read_only(directory: Path) -> bool:
    try:
        return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
    except OSError:
        return False
