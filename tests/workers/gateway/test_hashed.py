"""Which blocks are hashed when they are read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hypercore.core import StoredRun
from hypercore.merkle.hashing import leaf_node
from workers.gateway import hashed
from workers.gateway.hashed import HASHED_SECONDS, QUIET_SECONDS, HashedBlocks, HashedCores

from ...support.waiting import eventually

BLOCKS = [bytes([n]) * 100 for n in range(40)]


class Reader:
    """Reads blocks of a file, at a time of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"".join(BLOCKS))
        self.now = path.stat().st_ctime + QUIET_SECONDS
        self.blocks = HashedBlocks(lambda: self.now)
        self.hashed = 0

    def __call__(self, start: int, end: int) -> tuple[bytes | None, bool]:
        """The bytes, and whether they were hashed."""
        before = self.hashed
        leaves = [leaf_node(at, BLOCKS[at]) for at in range(start, end)]
        run = StoredRun(os.open(self.path, os.O_RDONLY), start * 100, leaves)
        try:
            return self.blocks.read(run), self.hashed > before
        finally:
            run.close()

    def write(self, at: int, data: bytes) -> None:
        """Write into the file, and set its older time of writing again."""
        before = self.path.stat()

        def is_later() -> bool:  # than the tick of the clock in which it was written before
            with self.path.open("r+b") as file:
                file.seek(at)
                file.write(data)
            os.utime(self.path, ns=(before.st_atime_ns, before.st_mtime_ns))
            return self.path.stat().st_ctime_ns != before.st_ctime_ns

        eventually(is_later, timeout=10, what="a later time")


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    reader = Reader(tmp_path / "file")
    matches = StoredRun.matches

    def counted(self: StoredRun, data: bytes) -> bool:
        reader.hashed += 1
        return matches(self, data)

    monkeypatch.setattr(StoredRun, "matches", counted)
    return reader


def joined(start: int, end: int) -> bytes:
    return b"".join(BLOCKS[start:end])


def test_blocks_are_hashed_once_while_their_file_does_not_change(read: Reader) -> None:
    assert read(0, 10) == (joined(0, 10), True)
    assert read(0, 10) == (joined(0, 10), False)
    assert read(3, 7) == (joined(3, 7), False)
    assert read(8, 12) == (joined(8, 12), True), "two of them are new"
    assert read(0, 12) == (joined(0, 12), False)
    read.now += HASHED_SECONDS + 1
    assert read(0, 12) == (joined(0, 12), True)
    assert read(0, 12) == (joined(0, 12), False)


def test_a_changed_block_is_never_served_and_nor_is_a_missing_one(read: Reader) -> None:
    assert read(0, 10) == (joined(0, 10), True)
    read.write(555, b"\xff")
    assert read(0, 10) == (None, True)
    assert read(6, 10) == (joined(6, 10), True)
    read.write(555, BLOCKS[5][:1])
    assert read(0, 10) == (joined(0, 10), True)
    os.truncate(read.path, 950)
    assert read(0, 10) == (None, False)
    read.path.write_bytes(bytes(4000))
    assert read(0, 10) == (None, True)


def test_a_file_in_the_place_of_another_is_hashed(read: Reader, tmp_path: Path) -> None:
    assert read(0, 10) == (joined(0, 10), True)
    other = tmp_path / "other"
    other.write_bytes(bytes(4000))
    other.replace(read.path)
    assert read(0, 10) == (None, True)


def test_a_file_that_was_just_written_proves_nothing(read: Reader) -> None:
    read.now -= QUIET_SECONDS / 2
    assert read(0, 10) == read(0, 10) == (joined(0, 10), True)
    read.now += QUIET_SECONDS
    assert read(0, 10) == (joined(0, 10), True)
    assert read(0, 10) == (joined(0, 10), False)
    read.now -= 2 * QUIET_SECONDS
    assert read(0, 10) == (joined(0, 10), True), "the clock went back"


def test_what_is_remembered_is_bounded(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashed, "MAX_RANGES", 3)
    for at in range(0, 8, 2):
        assert read(at, at + 1)[1]
    assert read(6, 7) == (BLOCKS[6], False)
    assert read(0, 1) == (BLOCKS[0], True), "it was forgotten"


def test_cores_are_remembered_by_place_key_and_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashed, "MAX_CORES", 2)
    cores, here = HashedCores(), Path("engine-0")
    first = cores.of(here, b"a", 0)
    assert cores.of(here, b"a", 0) is first
    for other in ((Path("engine-1"), b"a", 0), (here, b"b", 0), (here, b"a", 1)):
        assert cores.of(*other) is not first
        cores.of(here, b"a", 0)
    cores.of(here, b"b", 0)
    cores.of(here, b"c", 0)
    assert cores.of(here, b"a", 0) is not first
