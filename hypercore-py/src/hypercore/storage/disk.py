"""A data directory: one SQLite database, and one flat file for each large core. See `docs/storage.md`."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from ..bitfield import Bitfield
from ..errors import StoreUnreadable
from .base import Batch, BlockRun, CoreChanges, CoreInfo, CoreRow
from .block_files import MAX_OPEN_FILES, BlockFiles, sync_directory
from .crash_points import CrashPoint, OnCrashPoint, ignore
from .disk_errors import database_error, disk_error
from .lock import DirectoryLock
from .schema import connect, open_database

DATABASE_NAME = "cores.db"

FREE_PAGES_BEFORE_VACUUM = 1024
"""Unused pages of the database that are kept; more are freed when cores are removed."""

_ROW_COLUMNS = (
    "id, key, discovery_key, manifest, fork, length, byte_length, roots, signature, contiguous, in_file, meta"
)
_MEASURES = ("page_count", "freelist_count", "page_size")
_CORE_TABLES = ("blocks", "bit_pages", "tree_pages")
_UPSERT_ROW = f"""INSERT INTO cores ({_ROW_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET manifest = excluded.manifest, fork = excluded.fork, length =
    excluded.length, byte_length = excluded.byte_length, roots = excluded.roots, signature =
    excluded.signature, contiguous = excluded.contiguous, in_file = excluded.in_file, meta =
    excluded.meta"""
_UPSERT_TREE = """INSERT INTO tree_pages VALUES (?, ?, ?)
    ON CONFLICT (core, page) DO UPDATE SET nodes = excluded.nodes"""
_UPSERT_BITS = """INSERT INTO bit_pages VALUES (?, ?, ?)
    ON CONFLICT (core, page) DO UPDATE SET bits = excluded.bits"""
_UPSERT_BLOCK = """INSERT INTO blocks VALUES (?, ?, ?)
    ON CONFLICT (core, number) DO UPDATE SET value = excluded.value"""


class DiskBackend:
    """Implements `Backend` over a directory, which is made (mode 0700) if it does not exist.

    Raises StoreLocked when another process uses the directory, StoreUnreadable when it is damaged, of a newer
    format, or not accessible.
    """

    keeps_files = True
    read_only = False

    def __init__(
        self, directory: Path, *, max_open_files: int = MAX_OPEN_FILES, on_step: OnCrashPoint = ignore
    ) -> None:
        self.directory = directory
        self._step = on_step
        self._committing = Lock()
        _make_directory(directory)
        with contextlib.ExitStack() as undo:
            self._lock = DirectoryLock(directory)
            undo.callback(self._lock.release)
            self._files = BlockFiles(directory / "blocks", max_open=max_open_files, on_step=on_step)
            _refuse_lost_database(directory / DATABASE_NAME, self._files)
            self._writer = open_database(directory / DATABASE_NAME)
            undo.callback(self._writer.close)
            with _database("cannot open the database"):
                self._reader = connect(directory / DATABASE_NAME)
                undo.callback(self._reader.close)
                self._reader.execute("PRAGMA query_only = ON")
                ids = {row[0] for row in self._reader.execute("SELECT id FROM cores WHERE in_file")}
                self._last_id = self._reader.execute("SELECT coalesce(max(id), 0) FROM cores").fetchone()[0]
            self._prepare_directory(ids)
            undo.pop_all()
        self.closed = False

    def _prepare_directory(self, ids: set[int]) -> None:
        try:
            (self.directory / "blocks").mkdir(mode=0o700, exist_ok=True)
            self._files.sweep(ids)
            sync_directory(self.directory)
        except OSError as error:
            raise disk_error(error, f"cannot use {self.directory / 'blocks'}") from error

    def close(self) -> None:
        """Wait for a running commit and close. Does not flush: the store does."""
        if self.closed:
            return
        with self._committing:
            self.closed = True
            self._files.close()
            self._reader.close()
            with contextlib.suppress(sqlite3.Error):  # optional: the next start reads the log
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._writer.close()
            self._lock.release()

    # --- reading: the thread of the store

    def next_id(self) -> int:
        self._last_id += 1
        return int(self._last_id)

    def find_key(self, discovery_key: bytes) -> bytes | None:
        row = self._one("SELECT key FROM cores WHERE discovery_key = ?", discovery_key)
        return None if row is None else row[0]

    def read_row(self, discovery_key: bytes) -> CoreRow | None:
        row = self._one(f"SELECT {_ROW_COLUMNS} FROM cores WHERE discovery_key = ?", discovery_key)
        return None if row is None else _core_row(row)

    def read_node_page(self, core_id: int, page: int) -> bytes | None:
        row = self._one("SELECT nodes FROM tree_pages WHERE core = ? AND page = ?", core_id, page)
        return None if row is None else row[0]

    def read_bit_pages(self, core_id: int) -> dict[int, bytes]:
        with _database("cannot read which blocks are stored"):
            return dict(self._reader.execute("SELECT page, bits FROM bit_pages WHERE core = ?", (core_id,)))

    def read_inline(self, core_id: int, index: int) -> bytes | None:
        row = self._one("SELECT value FROM blocks WHERE core = ? AND number = ?", core_id, index)
        return None if row is None else row[0]

    def read_file(self, core_id: int, offset: int, size: int) -> bytes | None:
        return self._files.read(core_id, offset, size)

    def open_file(self, core_id: int) -> int | None:
        return self._files.open_copy(core_id)

    def core_infos(self) -> list[tuple[int, CoreInfo]]:
        with _database("cannot list the cores"):
            pages: dict[int, dict[int, bytes]] = {}
            for core_id, page, bits in self._reader.execute("SELECT core, page, bits FROM bit_pages"):
                pages.setdefault(core_id, {})[page] = bits
            rows = map(_core_row, self._reader.execute(f"SELECT {_ROW_COLUMNS} FROM cores ORDER BY id"))
            return [(row.id, core_info(row, pages.get(row.id, {}))) for row in rows]

    def core_manifests(self, after: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        chosen = "WHERE id > ? AND manifest IS NOT NULL ORDER BY id LIMIT ?"
        with _database("cannot list the manifests"):
            query = f"SELECT id, key, manifest FROM cores {chosen}"
            return list(self._reader.execute(query, (after, limit)))

    def read_meta(self, name: str) -> bytes | None:
        row = self._one("SELECT value FROM meta WHERE name = ?", name)
        return None if row is None else row[0]

    def meta_names(self, prefix: str) -> list[str]:
        query = "SELECT name FROM meta WHERE name >= ? AND name < ? ORDER BY name"
        with _database("cannot read what the program keeps"):
            return [row[0] for row in self._reader.execute(query, (prefix, prefix + "\x7f"))]

    def close_files(self, core_id: int) -> None:
        self._files.close_files(core_id)

    def disk_bytes(self) -> int:
        try:
            names = (DATABASE_NAME, f"{DATABASE_NAME}-wal")
            paths = [path for name in names if (path := self.directory / name).exists()]
            return self._files.disk_bytes() + sum(path.stat().st_blocks * 512 for path in paths)
        except OSError as error:
            raise disk_error(error, f"cannot measure {self.directory}") from error

    def database_bytes(self) -> int:
        with _database("cannot measure the database"):
            found = (self._reader.execute(f"PRAGMA {name}").fetchone()[0] for name in _MEASURES)
            pages, free, size = map(int, found)
            return (pages - free) * size

    @property
    def open_files(self) -> int:
        """Number of open block files."""
        return self._files.open_files

    def _one(self, query: str, *values: object) -> tuple[bytes, ...] | None:
        try:
            row: tuple[bytes, ...] | None = self._reader.execute(query, values).fetchone()
        except sqlite3.Error as error:
            raise database_error(error, f"cannot read {self.directory / DATABASE_NAME}") from error
        return row

    # --- writing: the thread of the flush

    def commit(self, batch: Batch) -> None:
        with self._committing:
            if batch.first:
                self._transaction(batch.first)
                self._free(batch.first)
            for changes in batch.then:
                if changes.row.in_file and (changes.runs or changes.moving is not None):
                    self._write_file(changes)
            self._transaction(batch.then, batch.removed, batch.meta)
            # The batch is durable: errors from here on are ignored
            self._free(batch.then)
            for core_id in batch.removed:
                self._files.remove(core_id)
            if batch.removed:
                self._vacuum()

    def _write_file(self, changes: CoreChanges) -> None:
        core_id, moving = changes.row.id, changes.moving
        if moving is not None and self._is_in_file(core_id):
            moving = None  # the commit was durable although it reported an error
        if moving is None:
            self._files.write(core_id, changes.runs, create=False)
        else:
            self._files.write(core_id, self._moved_runs(core_id, moving, changes.runs), create=True)

    def _is_in_file(self, core_id: int) -> bool:
        with _database("cannot read a core"):
            row = self._writer.execute("SELECT in_file FROM cores WHERE id = ?", (core_id,)).fetchone()
        return row is not None and bool(row[0])

    def _moved_runs(
        self, core_id: int, moving: list[tuple[int, int, int]], runs: list[BlockRun]
    ) -> Iterator[BlockRun]:
        query = "SELECT value FROM blocks WHERE core = ? AND number >= ? AND number < ? ORDER BY number"
        for start, end, offset in moving:
            with _database("cannot read blocks that move into a file"):
                rows = self._writer.execute(query, (core_id, start, end)).fetchall()
            if len(rows) != end - start:
                raise StoreUnreadable(f"{end - start - len(rows)} stored blocks of core {core_id} are gone")
            yield BlockRun(start, offset, [row[0] for row in rows])
        yield from runs

    def _transaction(
        self,
        cores: list[CoreChanges],
        removed: list[int] | None = None,
        meta: dict[str, bytes | None] | None = None,
    ) -> None:
        db = self._writer
        with _database("cannot write the database", self.directory):
            self._step(CrashPoint.BEGIN)
            db.execute("BEGIN IMMEDIATE")
            try:
                for core_id in removed or ():
                    for table in _CORE_TABLES:
                        db.execute(f"DELETE FROM {table} WHERE core = ?", (core_id,))
                    db.execute("DELETE FROM cores WHERE id = ?", (core_id,))
                for changes in cores:
                    self._step(CrashPoint.ROW)
                    _write_core(db, changes)
                for name, value in (meta or {}).items():
                    if value is None:
                        db.execute("DELETE FROM meta WHERE name = ?", (name,))
                    else:
                        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
                self._step(CrashPoint.COMMIT)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                raise
            self._step(CrashPoint.COMMITTED)

    def _free(self, cores: list[CoreChanges]) -> None:
        for changes in cores:
            if changes.dropped and changes.row.in_file:
                self._files.free(changes.row.id, changes.dropped)

    def _vacuum(self) -> None:
        """Free the pages of removed cores."""
        with contextlib.suppress(sqlite3.Error):
            free = self._writer.execute("PRAGMA freelist_count").fetchone()[0]
            if free > FREE_PAGES_BEFORE_VACUUM:
                surplus = free - FREE_PAGES_BEFORE_VACUUM
                # A script, since `execute` stops after the first of the (empty) rows: one per page
                self._writer.executescript(f"PRAGMA incremental_vacuum({surplus})")


def _refuse_lost_database(path: Path, files: BlockFiles) -> None:
    """Raise StoreUnreadable if there are block files and no database: a new database would have none of their
    cores, and the start would delete them."""
    try:
        if path.exists() and path.stat().st_size:
            return
        count = files.count()
    except OSError as error:
        raise disk_error(error, f"cannot use {path.parent}") from error
    if count:
        raise StoreUnreadable(
            f"{path} is missing or empty, but {path.parent / 'blocks'} holds the blocks of {count:,} cores; "
            f"nothing was changed. Put {path.name} and {path.name}-wal back (a backup of the same time as "
            "the blocks), or move `blocks` away to begin anew and download everything again"
        )


def _make_directory(path: Path) -> None:
    """Make a directory and its parents, with durable names."""
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
            sync_directory(folder.parent)
        if not path.is_dir():
            raise StoreUnreadable(f"{path} is not a directory")
    except OSError as error:
        raise disk_error(error, f"cannot make the data directory {path}") from error


def _write_core(db: sqlite3.Connection, changes: CoreChanges) -> None:
    core_id = changes.row.id
    db.execute(_UPSERT_ROW, changes.row)
    if changes.node_floor is not None:
        db.execute("DELETE FROM tree_pages WHERE core = ? AND page >= ?", (core_id, changes.node_floor))
    db.executemany(_UPSERT_TREE, [(core_id, page, nodes) for page, nodes in changes.node_pages])
    for page, bits in changes.bit_pages:
        if bits:
            db.execute(_UPSERT_BITS, (core_id, page, bits))
        else:
            db.execute("DELETE FROM bit_pages WHERE core = ? AND page = ?", (core_id, page))
    if changes.row.in_file:
        if changes.moving is not None:
            db.execute("DELETE FROM blocks WHERE core = ?", (core_id,))
        return
    for run in changes.dropped:
        last = (1 << 62) if run.end is None else run.end
        query = "DELETE FROM blocks WHERE core = ? AND number >= ? AND number < ?"
        db.execute(query, (core_id, run.start, last))
    for first, _, blocks in changes.runs:
        db.executemany(_UPSERT_BLOCK, [(core_id, first + at, block) for at, block in enumerate(blocks)])


def core_info(row: CoreRow, pages: dict[int, bytes]) -> CoreInfo:
    """The listing of a stored core."""
    have = Bitfield.restore(row.contiguous, pages).count if pages else row.contiguous
    return CoreInfo(row.key, row.discovery_key, row.fork, row.length, row.byte_length, have, row.meta)


def _core_row(values: tuple[object, ...]) -> CoreRow:
    row = CoreRow(*values)  # type: ignore[arg-type]  # the table is STRICT and has these columns
    return row._replace(in_file=bool(row.in_file))


@contextlib.contextmanager
def _database(doing: str, directory: Path | None = None) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise database_error(error, doing, directory) from error
