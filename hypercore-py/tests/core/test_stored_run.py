"""Runs of stored blocks that any thread can read."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hypercore.core import Core
from hypercore.testing.cores import download, make_writer, sample_blocks
from support.core_places import DiskPlace, MemoryPlace

BLOCKS = [bytes([n]) * 65536 for n in range(40)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[DiskPlace]:
    place = DiskPlace(tmp_path / "store")
    yield place
    place.close()


def stored(disk: DiskPlace, blocks: list[bytes] = BLOCKS, *, only: list[int] | None = None) -> Core:
    """A core with these blocks on the disk."""
    source = make_writer(blocks).core
    core = disk.store.open_core(source.key)
    assert core is not None
    download(source, core, only)
    disk.store.flush()
    return core


def read(core: Core, start: int, end: int, max_bytes: int) -> tuple[int, bytes | None]:
    """Blocks of the run, and its bytes as another thread reads them."""
    run = core.stored_run(start, end, max_bytes)
    assert run is not None
    with ThreadPoolExecutor(1) as threads:
        data = threads.submit(run.read).result()
    run.close()
    run.close()
    return len(run), data


def test_a_run_is_as_many_blocks_as_fit_and_at_least_one(disk: DiskPlace) -> None:
    core = stored(disk)
    assert read(core, 3, 40, 3 * 65536 + 100) == (3, b"".join(BLOCKS[3:6]))
    assert read(core, 3, 5, 1 << 20) == (2, b"".join(BLOCKS[3:5]))
    assert read(core, 39, 99, 10) == (1, BLOCKS[39])
    assert core.stored_run(40, 99, 1 << 20) is None
    assert core.stored_run(5, 5, 1 << 20) is None


def test_a_run_ends_before_a_block_that_is_not_stored(disk: DiskPlace) -> None:
    core = stored(disk, only=[*range(10, 30)])
    assert read(core, 28, 40, 1 << 20) == (2, b"".join(BLOCKS[28:30]))
    assert core.stored_run(30, 40, 1 << 20) is None
    assert core.stored_run(9, 40, 1 << 20) is None


def test_blocks_that_are_rows_or_in_memory_are_no_run(disk: DiskPlace) -> None:
    small = stored(disk, sample_blocks(10))
    assert small.get(0) is not None and small.stored_run(0, 10, 1 << 20) is None
    memory = make_writer(BLOCKS, store=MemoryPlace().store)
    assert memory.core.stored_run(0, 40, 1 << 20) is None


def test_blocks_that_wait_for_a_flush_are_no_run(disk: DiskPlace) -> None:
    writer = make_writer(store=disk.store)
    writer.core.append(BLOCKS, writer.key_pair)
    assert writer.core.stored_run(0, 40, 1 << 20) is None
    disk.store.flush()
    assert read(writer.core, 0, 2, 1 << 20) == (2, b"".join(BLOCKS[:2]))


def test_a_corrupt_or_missing_block_makes_the_run_unreadable(disk: DiskPlace) -> None:
    core = stored(disk)
    [path] = disk.path.glob("blocks/*/*.blocks")
    with path.open("r+b") as file:
        file.seek(5 * 65536 + 17)
        file.write(b"\xff")
    assert read(core, 4, 8, 1 << 20) == (4, None)
    assert read(core, 6, 8, 1 << 20) == (2, b"".join(BLOCKS[6:8]))
    with path.open("r+b") as file:
        file.truncate(7 * 65536)
    assert read(core, 6, 8, 1 << 20) == (2, None)


def test_a_run_stays_readable_when_the_store_closes_its_files(disk: DiskPlace) -> None:
    core = stored(disk)
    run = core.stored_run(0, 2, 1 << 20)
    assert run is not None
    disk.store.close()
    assert run.read() == b"".join(BLOCKS[:2])
    run.close()


def test_a_run_of_a_deleted_file_is_none(disk: DiskPlace) -> None:
    core = stored(disk)
    disk.store.backend.close_files(core.storage.id)
    for path in disk.path.glob("blocks/*/*.blocks"):
        path.unlink()
    assert core.stored_run(0, 2, 1 << 20) is None
