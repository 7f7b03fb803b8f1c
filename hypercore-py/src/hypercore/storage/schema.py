"""The database of a store: its tables, its format version, and opening it safely."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ..errors import StoreUnreadable
from .disk_errors import database_error, disk_error

FORMAT = 1
"""Version of tables and files together (`PRAGMA user_version`). Raise it with every change that older code
would misread, and migrate in `open_database`."""

APPLICATION_ID = 0x48797063
"""Marks our databases (`PRAGMA application_id`): "Hypc"."""

MIN_SQLITE = (3, 37, 0)
"""Oldest SQLite with STRICT tables. Older versions raise StoreUnreadable."""

WAL_LIMIT_BYTES = 16 << 20
"""Size to which a grown write-ahead log is cut."""

SYNCHRONOUS = "FULL"
"""A commit in WAL mode is durable when it returns. With NORMAL, a power failure could undo commits."""

_TABLES = """
CREATE TABLE cores (
  id INTEGER PRIMARY KEY,
  key BLOB NOT NULL,
  discovery_key BLOB NOT NULL UNIQUE,
  manifest BLOB,
  fork INTEGER NOT NULL,
  length INTEGER NOT NULL,
  byte_length INTEGER NOT NULL,
  roots BLOB NOT NULL,
  signature BLOB,
  contiguous INTEGER NOT NULL,
  in_file INTEGER NOT NULL,
  meta BLOB
) STRICT;
CREATE TABLE tree_pages (
  core INTEGER NOT NULL, page INTEGER NOT NULL, nodes BLOB NOT NULL, PRIMARY KEY (core, page)
) STRICT;
CREATE TABLE bit_pages (
  core INTEGER NOT NULL, page INTEGER NOT NULL, bits BLOB NOT NULL, PRIMARY KEY (core, page)
) STRICT;
CREATE TABLE blocks (
  core INTEGER NOT NULL, number INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY (core, number)
) STRICT;
CREATE TABLE meta (
  name TEXT PRIMARY KEY, value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
"""


def open_database(path: Path) -> sqlite3.Connection:
    """The connection for writing. Makes a missing database. Raises StoreUnreadable."""
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        wanted = ".".join(map(str, MIN_SQLITE))
        raise StoreUnreadable(f"SQLite {wanted} is needed, this Python has {sqlite3.sqlite_version}")
    doing = f"cannot open {path}"
    try:
        # Made here with mode 0600: SQLite would use the umask
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise disk_error(error, doing) from error
    try:
        db = connect(path)
        try:
            _prepare(db, path)
        except BaseException:
            db.close()
            raise
    except sqlite3.Error as error:
        raise database_error(error, doing) from error
    return db


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode, usable from any one thread at a time."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        # FULL: a commit in WAL mode is on disk when it returns
        for pragma in (
            "synchronous = FULL",
            f"journal_size_limit = {WAL_LIMIT_BYTES}",
            "temp_store = MEMORY",
        ):
            db.execute(f"PRAGMA {pragma}")
    except BaseException:
        db.close()
        raise
    return db


def require_format(db: sqlite3.Connection, path: Path) -> None:
    """Raise StoreUnreadable for a foreign database, or one of a newer format."""
    version = _pragma(db, "user_version")
    if _pragma(db, "application_id") != APPLICATION_ID:
        raise StoreUnreadable(f"{path} is a database of another program")
    if version > FORMAT:
        raise StoreUnreadable(
            f"{path} has format {version}, this version of the program understands {FORMAT}: use a newer one"
        )


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables or _pragma(db, "application_id") or _pragma(db, "user_version"):
        require_format(db, path)
    else:
        _create(db)
    if str(db.execute("PRAGMA journal_mode = WAL").fetchone()[0]).lower() != "wal":
        raise StoreUnreadable(f"{path} is on a file system that SQLite cannot keep a write-ahead log on")


def _create(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # must come before the first table
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("BEGIN IMMEDIATE")
    for statement in filter(str.strip, _TABLES.split(";")):
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {FORMAT}")
    db.execute("COMMIT")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
