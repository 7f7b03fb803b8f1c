"""How many files a drive has, whatever its writer put there."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from workers.engine.seeds import file_counts
from workers.engine.seeds.file_counts import FileCounts, Files, count_files

from ..fakes import Sessions, Writer, WriterOfDrive


def files_of(drive: WriterOfDrive | Writer) -> Files | None:
    sessions = Sessions(drive.store)
    found = asyncio.run(count_files(drive.key, sessions.open))
    assert all(session.closed for session in sessions.opened.values())
    return found


def test_files_and_their_bytes_are_counted_with_the_version_that_has_them() -> None:
    drive = WriterOfDrive()
    drive.put("/a.txt", b"12345")
    drive.put("/folder/deep/b.txt", b"1234567")
    drive.put("/folder/link", linkname="/a.txt")
    assert files_of(drive) == Files(4, 3, 12)
    drive.put("/a.txt", b"1")
    assert files_of(drive) == Files(5, 3, 8)


def test_bytes_of_files_with_a_list_of_blocks_are_not_guessed() -> None:
    drive = WriterOfDrive()
    drive.put("/a.txt", b"12345")
    drive.put("/mapped", b"a list", block_map=True)
    assert files_of(drive) == Files(3, 2, None)


def test_what_is_no_drive_or_not_all_here_has_no_count() -> None:
    core = Writer()
    core.append(b"no drive")
    assert files_of(core) is None
    encrypted = WriterOfDrive(encrypted=True)
    encrypted.put("/a.txt", b"hidden")
    assert files_of(encrypted) is None


def test_a_drive_with_too_many_entries_has_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_counts, "MAX_ENTRIES", 5)
    drive = WriterOfDrive()
    for number in range(5):
        drive.put(f"/{number}", b"x")
    assert files_of(drive) == Files(6, 5, 5)
    drive.put("/one too many", b"x")
    assert files_of(drive) is None


def test_counting_stops_when_it_has_read_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    drive = WriterOfDrive()
    for number in range(6):
        drive.put(f"/{number}", b"x")
    assert files_of(drive) == Files(7, 6, 6)
    monkeypatch.setattr(file_counts, "MAX_READ_BLOCKS", 5)
    assert files_of(drive) is None
    monkeypatch.setattr(file_counts, "MAX_READ_BLOCKS", 1000)
    monkeypatch.setattr(file_counts, "MAX_READ_BYTES", 100)
    assert files_of(drive) is None


def test_a_slice_of_counting_is_followed_by_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(file_counts, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    drive = WriterOfDrive()
    for number in range(6):
        drive.put(f"/{number}", b"x")
    assert files_of(drive) == Files(7, 6, 6)
    assert len(rests) >= 6
    assert set(rests) == {file_counts.PAUSE_SECONDS}


def test_a_drive_that_changes_often_is_counted_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(file_counts, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(file_counts, "COUNT_INTERVAL", 0.05)
    drive = WriterOfDrive()
    drive.put("/a.txt", b"1")
    found: list[Files | None] = []

    async def run() -> None:
        sessions = Sessions(drive.store)
        counts = FileCounts(
            sessions.open, is_wanted=lambda key: True, on_count=lambda key, files: found.append(files)
        )
        task = asyncio.create_task(counts.run())
        began = monotonic()
        for _ in range(20):
            counts.changed(drive.key)
            await asyncio.sleep(0.001)
        assert 1 <= len(found) <= 1 + (monotonic() - began) / file_counts.COUNT_INTERVAL
        drive.put("/b.txt", b"22")
        counts.changed(drive.key)
        async with asyncio.timeout(5):
            while found[-1] != Files(3, 2, 3):
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(run())
    assert found[0] == Files(2, 1, 1)
