"""Opening a data directory: what is refused and in which words, what is left behind, what is kept."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from hypercore.core import disk_store
from hypercore.errors import StorageError, StoreFull, StoreLocked, StoreReadOnly, StoreUnreadable
from hypercore.storage import DiskBackend
from hypercore.storage.disk_errors import database_error, disk_error
from hypercore.storage.schema import APPLICATION_ID, FORMAT
from hypercore.testing.cores import make_writer, sample_blocks
from support.storage_programs import open_descriptors, run, start

HOLD = """
import sys
from pathlib import Path
from hypercore.core import disk_store
store = disk_store(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def close(path: Path) -> None:
    disk_store(path).close()


# --- one process at a time


def test_a_directory_in_use_is_refused_by_name(tmp_path: Path) -> None:
    with disk_store(tmp_path):
        with pytest.raises(StoreLocked, match="in use") as refusal:
            disk_store(tmp_path)
        assert str(tmp_path) in str(refusal.value)
    close(tmp_path)


def test_a_directory_in_use_by_another_process_names_it_and_is_free_after_its_end(tmp_path: Path) -> None:
    holder = start(HOLD, tmp_path)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked, match=f"process {holder.pid}"):
            disk_store(tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    close(tmp_path)


def test_a_refused_opening_leaves_nothing_behind(tmp_path: Path) -> None:
    with disk_store(tmp_path):
        before = sorted(path.name for path in tmp_path.iterdir())
        descriptors = open_descriptors()
        with pytest.raises(StoreLocked):
            disk_store(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == before
        assert open_descriptors() == descriptors


# --- what is not ours, or cannot be used


def test_a_file_is_not_a_directory(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("hello")
    with pytest.raises(StoreUnreadable, match="not a directory"):
        disk_store(tmp_path / "data")
    with pytest.raises(StorageError, match="Not a directory"):
        disk_store(tmp_path / "data" / "below")
    assert (tmp_path / "data").read_text() == "hello"


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database, however long it may be" * 100)


def of_another_program(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE songs (title TEXT)")
    db.commit()
    db.close()


def newer(path: Path) -> None:
    close(path.parent)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    db.close()


def a_directory(path: Path) -> None:
    path.mkdir()


def cut_off(path: Path) -> None:
    with disk_store(path.parent) as store:
        for seed in range(20):
            make_writer(sample_blocks(300), store=store, seed=seed)
    with path.open("r+b") as file:
        file.truncate(8192)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (garbage, "damaged"),
        (of_another_program, "another program"),
        (newer, f"format {FORMAT + 1}.*newer"),
        (a_directory, "cannot open"),
        (cut_off, "damaged"),
    ],
)
def test_a_database_that_is_not_ours_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], word: str
) -> None:
    path = tmp_path / "data" / "cores.db"
    path.parent.mkdir()
    make(path)
    before = path.read_bytes() if path.is_file() else None
    descriptors = open_descriptors()
    with pytest.raises(StorageError, match=word) as refusal:
        disk_store(path.parent)
    assert str(path.parent) in str(refusal.value)
    assert open_descriptors() == descriptors
    assert (path.read_bytes() if path.is_file() else None) == before


def test_other_files_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "seeds.txt").write_text("drive abc")
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks" / "README").write_text("hello")
    with disk_store(tmp_path) as store:
        make_writer([bytes(2 << 20)], store=store)
    assert (tmp_path / "seeds.txt").read_text() == "drive abc"
    assert (tmp_path / "blocks" / "README").read_text() == "hello"


def nothing_written(path: Path) -> None:
    path.touch()


def without_tables(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.close()


@pytest.mark.parametrize("make", [nothing_written, without_tables])
def test_a_store_whose_making_was_cut_off_is_made_now(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "cores.db")
    with disk_store(tmp_path) as store:
        key = make_writer([b"a"], store=store).core.key
    with disk_store(tmp_path) as store:
        assert [info.key for info in store.cores()] == [key]


def test_an_old_sqlite_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(StoreUnreadable, match=r"SQLite 3\.37\.0 is needed"):
        disk_store(tmp_path)


OPEN_UNPRIVILEGED = """
import os, sys
from pathlib import Path
from hypercore.core import disk_store
from hypercore.errors import StorageError
os.setuid(65534)
try:
    disk_store(Path(sys.argv[1]))
except StorageError as error:
    print(type(error).__name__, error)
"""


def open_to_all(path: Path) -> None:
    """pytest keeps its temporary directories to their owner."""
    for folder in (path, *path.parents):
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(0o755)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_a_directory_that_may_not_be_used_says_so(tmp_path: Path, mode: int) -> None:
    directory = tmp_path / "data"
    close(directory)
    open_to_all(tmp_path)
    for path in [*directory.rglob("*"), directory]:
        os.chown(path, 65534, 65534)
        path.chmod(mode)
    out = run(OPEN_UNPRIVILEGED, directory)
    assert out.startswith("StoreUnreadable")
    assert "Permission denied" in out
    assert str(directory) in out


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_directory_below_one_that_may_not_be_entered_says_so(tmp_path: Path) -> None:
    open_to_all(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    out = run(OPEN_UNPRIVILEGED, closed / "data")
    assert out.startswith("StoreUnreadable cannot make the data directory")
    assert "Permission denied" in out


# --- what is made


def test_no_other_peer_may_look_into_the_directory(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with disk_store(tmp_path / "a" / "b") as store:
            make_writer([bytes(2 << 20)], store=store)
            paths = [tmp_path / "a" / "b", *(tmp_path / "a" / "b").rglob("*")]
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths}
    finally:
        os.umask(old)
    assert {"b", "lock", "cores.db", "cores.db-wal", "blocks"} <= modes.keys()
    for path in paths:
        assert modes[path.name] == (0o700 if path.is_dir() or path.name == "b" else 0o600), path


def test_the_database_says_what_it_is(tmp_path: Path) -> None:
    close(tmp_path)
    db = sqlite3.connect(tmp_path / "cores.db")
    assert db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    assert db.execute("PRAGMA user_version").fetchone()[0] == FORMAT
    assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    db.close()


def test_the_writing_connection_syncs_every_commit(tmp_path: Path) -> None:
    backend = DiskBackend(tmp_path)
    for connection in (backend._writer, backend._reader):
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    backend.close()


def test_files_that_a_crash_left_are_swept_at_the_start(tmp_path: Path) -> None:
    with disk_store(tmp_path) as store:
        key = make_writer([bytes(2 << 20)], store=store).core.key
    [kept] = tmp_path.glob("blocks/*/*.blocks")
    orphan = tmp_path / "blocks" / "07" / "7.blocks"
    orphan.parent.mkdir()
    orphan.write_bytes(b"left over")
    with disk_store(tmp_path) as store:
        core = store.open_core(key, create=False)
        assert core is not None and core.get(0) == bytes(2 << 20)
    assert not orphan.exists()
    assert kept.exists()


def test_a_copied_directory_is_a_store(tmp_path: Path) -> None:
    with disk_store(tmp_path / "a") as store:
        key = make_writer(sample_blocks(10), store=store).core.key
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with disk_store(tmp_path / "b") as store:
        core = store.open_core(key, create=False)
        assert core is not None and core.get(9) == sample_blocks(10)[9]


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = disk_store(tmp_path)
    core = make_writer(sample_blocks(10), store=store).core
    store.close()
    with pytest.raises(StorageError, match="closed"):
        core.get(3)


def test_few_files_stay_open_whatever_is_read(tmp_path: Path) -> None:
    with disk_store(tmp_path, max_open_files=5) as store:
        cores = [make_writer([bytes(1 << 20), b"x"], store=store, seed=n).core for n in range(30)]
        descriptors = open_descriptors()
        assert all(core.get(1) == b"x" for core in cores)
        assert open_descriptors() <= descriptors + 5


# --- errors in words


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (28, StoreFull, "no space left"),
        (122, StoreFull, "quota"),
        (27, StoreFull, "larger than is allowed"),
        (13, StoreUnreadable, "Permission denied"),
        (30, StoreReadOnly, "file system is read-only"),
        (5, StorageError, "Input/output error"),
    ],
)
def test_errors_of_the_system_say_what_happened(number: int, kind: type[StorageError], words: str) -> None:
    error = disk_error(OSError(number, os.strerror(number)), "cannot write x")
    assert type(error) is kind
    assert words in str(error) and str(error).startswith("cannot write x: ")
    assert kind is StoreUnreadable or "intact" in str(error)


def test_errors_of_sqlite_say_what_happened() -> None:
    def of(code: int) -> StorageError:
        error = sqlite3.OperationalError("text of sqlite")
        error.sqlite_errorcode = code
        return database_error(error, "cannot write")

    assert type(of(sqlite3.SQLITE_FULL)) is StoreFull
    assert type(of(sqlite3.SQLITE_CORRUPT)) is StoreUnreadable
    assert type(of(sqlite3.SQLITE_CANTOPEN_ISDIR)) is StoreUnreadable
    assert type(of(sqlite3.SQLITE_IOERR_WRITE)) is StorageError
    assert "text of sqlite" in str(of(sqlite3.SQLITE_IOERR_WRITE))
    assert type(database_error(sqlite3.ProgrammingError("no code"), "x")) is StorageError
    assert type(of(sqlite3.SQLITE_READONLY)) is StoreReadOnly
    assert "read-only" in str(of(sqlite3.SQLITE_READONLY_DBMOVED)) and "intact" in str(
        of(sqlite3.SQLITE_READONLY)
    )


def test_a_database_whose_file_system_becomes_read_only_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    assert type(database_error(error, "cannot write", tmp_path)) is StorageError
    status = os.statvfs(tmp_path)
    flags = os.statvfs_result((*status[:8], status.f_flag | os.ST_RDONLY, status.f_namemax))
    monkeypatch.setattr(os, "statvfs", lambda _: flags)
    notified = database_error(error, "cannot write", tmp_path)
    assert type(notified) is StoreReadOnly and "read-only" in str(notified) and "intact" in str(notified)


@pytest.mark.parametrize("lost", ["moved", "empty"])
def test_a_lost_database_is_refused_where_blocks_are_and_nothing_is_deleted(
    tmp_path: Path, lost: str
) -> None:
    large = [bytes([number]) * 60_000 for number in range(40)]
    with disk_store(tmp_path / "store") as store:
        key = make_writer(large, store=store).core.key
    (blocks,) = (tmp_path / "store" / "blocks").rglob("*.blocks")
    size, database = blocks.stat().st_size, tmp_path / "store" / "cores.db"
    database.rename(tmp_path / "kept.db")
    if lost == "empty":
        database.touch()
    for _ in range(2):
        with pytest.raises(
            StoreUnreadable, match=r"holds the blocks of 1 cores; nothing was changed\. Put cores\.db"
        ):
            disk_store(tmp_path / "store")
        assert blocks.stat().st_size == size
    assert database.exists() is (lost == "empty")
    (tmp_path / "kept.db").rename(database)
    with disk_store(tmp_path / "store") as store:
        core = store.open_core(key)
        assert core is not None and core.get(39) == large[39]
    database.unlink()
    blocks.unlink()
    close(tmp_path / "store")  # without blocks there is nothing to lose
