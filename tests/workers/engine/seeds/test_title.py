"""What drives call themselves, as their writers wrote it."""

from __future__ import annotations

import asyncio
import json
import tracemalloc

import pytest

from hypercore.core import Core
from hypercore.drive.blockmap import MapEntry, encode_block_map
from hypercore.drive.entries import BlobId
from workers.engine.seeds import title as titles
from workers.engine.seeds.title import (
    MAX_BLOCK_BYTES,
    MAX_BLOCKS,
    MAX_FILE_BYTES,
    MAX_TITLE,
    Titles,
    read_title,
)

from ..fakes import Sessions, Writer, WriterOfDrive


def title_of(drive: WriterOfDrive | Writer) -> str:
    sessions = Sessions(drive.store)
    title = asyncio.run(read_title(drive.key, sessions.open))
    assert all(session.closed for session in sessions.opened.values())
    return title.text


@pytest.mark.parametrize(
    ("package", "title"),
    [
        (b'{"name": "keet", "version": "1"}', "keet"),
        ('{"name": "  a\\u202eb\\n \u00e4 "}'.encode(), "ab ä"),
        (b'{"name": "' + b"x" * 1000 + b'"}', "x" * MAX_TITLE),
        (b'{"name": 7}', ""),
        (b'["name"]', ""),
        (b"{}", ""),
        (b"\xff\xfe no json", ""),
        (b"[" * 50_000, ""),
        (b'{"name": "large"}' + b" " * MAX_FILE_BYTES, ""),
    ],
)
def test_a_drive_is_called_what_its_package_says(package: bytes, title: str) -> None:
    drive = WriterOfDrive()
    drive.put("/other.txt", b"something")
    drive.put("/package.json", package)
    assert title_of(drive) == title


def test_what_has_no_package_or_cannot_be_read_has_no_title() -> None:
    assert title_of(WriterOfDrive()) == ""
    encrypted = WriterOfDrive(encrypted=True)
    encrypted.put("/package.json", b'{"name": "hidden"}')
    assert title_of(encrypted) == ""
    linked = WriterOfDrive()
    linked.put("/package.json", linkname="/package.json")
    assert title_of(linked) == ""
    core = Writer()
    core.append(b"no drive")
    assert title_of(core) == ""


def test_a_package_whose_blocks_are_not_here_gives_no_title() -> None:
    drive = WriterOfDrive()
    drive.put("/package.json", b'{"name":', b'"keet"}')
    drive.blobs.clear(1, 2)
    assert title_of(drive) == ""


def test_the_index_of_a_drive_goes_before_its_package() -> None:
    drive = WriterOfDrive()
    drive.put("/package.json", b'{"name": "package"}')
    assert title_of(drive) == "package"
    drive.put("/index.json", b'{"title": "An essay"}')
    assert title_of(drive) == "An essay"
    for without in (b'{"name": "no title"}', b'{"title": "  "}', b"[]", b"{"):
        drive.put("/index.json", without)
        assert title_of(drive) == "package"


def hostile_drives() -> dict[str, WriterOfDrive]:
    """Each would take gigabytes, or minutes, to be read as it asks for."""
    mapped, empty, huge, deep = (WriterOfDrive() for _ in range(4))
    mapped.blobs.append([bytes(1 << 20)], mapped.db.key_pair)
    for path in ("/index.json", "/package.json"):
        mapped.put(path, *encode_block_map([MapEntry(0, 1 << 20)] * 8000), block_map=True)
    empty.blobs.append([b""] * 5_000, empty.db.key_pair)
    empty.put_blob("/package.json", BlobId(0, 5_000, 0, 1))
    huge.blobs.append([b'{"name": "x"' + b" " * MAX_BLOCK_BYTES + b"}"], huge.db.key_pair)
    huge.put_blob("/package.json", BlobId(0, 1, 0, 12))
    deep.put("/package.json", b'{"name": "kept small"}')
    deep.put("/" + "x" * MAX_BLOCK_BYTES, b"a block of the db that is too large")
    return {"mapped": mapped, "empty": empty, "huge": huge, "deep": deep}


def counted_reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, int]]:
    """The key of the core and the number of each block that is read from now on."""
    found: list[tuple[bytes, int]] = []
    real = Core.get

    def get(core: Core, index: int) -> bytes | None:
        found.append((core.key, index))
        return real(core, index)

    monkeypatch.setattr(Core, "get", get)
    return found


@pytest.mark.parametrize("name", ["mapped", "empty", "huge", "deep"])
def test_reading_a_title_is_bounded_whatever_the_writer_says(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = hostile_drives()[name]
    sessions = Sessions(drive.store)
    turns = 0

    async def read() -> str:
        nonlocal turns
        task = asyncio.create_task(read_title(drive.key, sessions.open))
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        return (await task).text

    read_blocks = counted_reads(monkeypatch)
    tracemalloc.start()
    try:
        assert asyncio.run(read()) == ""
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert len(read_blocks) <= MAX_BLOCKS
    assert turns >= len(read_blocks)  # the loop went on between any two blocks


def test_what_has_not_changed_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drive = WriterOfDrive()
    drive.put("/package.json", b'{"name": "first"}')
    sessions = Sessions(drive.store)
    first = asyncio.run(read_title(drive.key, sessions.open))
    drive.put("/other", b"content")
    reads = counted_reads(monkeypatch)

    def contents() -> list[int]:
        return [index for core, index in reads if core == drive.blobs.key]

    assert asyncio.run(read_title(drive.key, sessions.open, first)) is first
    assert contents() == []
    drive.put("/package.json", b'{"name": "second"}')
    assert asyncio.run(read_title(drive.key, sessions.open, first)).text == "second"
    assert contents() == [2]


def test_a_core_that_is_not_stored_is_not_made_for_a_title() -> None:
    drive = WriterOfDrive(content_feed=bytes([7]) * 32)
    drive.put("/package.json", b'{"name": "x"}')
    sessions = Sessions(drive.store)
    asked: list[bytes] = []

    def stored_only(key: bytes):  # type: ignore[no-untyped-def]
        asked.append(key)
        return sessions.open(key) if drive.store.info(key) is not None else None

    assert asyncio.run(read_title(drive.key, stored_only)).text == ""
    assert asked == [drive.key, bytes([7]) * 32]
    assert drive.store.info(bytes([7]) * 32) is None


def test_one_drive_that_fails_keeps_no_other_from_its_title(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(titles, "READ_PAUSE", 0.0)
    monkeypatch.setattr(titles, "READ_INTERVAL", 0.05)
    drives = [WriterOfDrive() for _ in range(3)]
    for number, drive in enumerate(drives):
        drive.put("/package.json", json.dumps({"name": f"drive {number}"}).encode())
    stores = {core: drive.store for drive in drives for core in (drive.key, drive.blobs.key)}
    found: list[tuple[bytes, str]] = []
    wanted = {drive.key for drive in drives}

    def open_session(core: bytes):  # type: ignore[no-untyped-def]
        if core == drives[1].key:
            raise MemoryError
        return Sessions(stores[core]).open(core)

    async def scene() -> None:
        reader = Titles(open_session, is_wanted=wanted.__contains__, on_title=lambda *new: found.append(new))
        task = asyncio.create_task(reader.run())
        for drive in drives:
            for _ in range(1000):
                reader.changed(drive.key)
        reader.changed(bytes(32))  # not wanted any more
        async with asyncio.timeout(10):
            while len(found) < 2:
                await asyncio.sleep(0.01)
            drives[2].put("/index.json", b'{"title": "another"}')
            reader.changed(drives[2].key)
            while len(found) < 3:
                await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()

    asyncio.run(scene())
    assert found == [(drives[0].key, "drive 0"), (drives[2].key, "drive 2"), (drives[2].key, "another")]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [MemoryError]
