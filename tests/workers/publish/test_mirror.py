"""A folder in a drive: what is written, what is not written again, and what is never half shown."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hypercore import KeyPair, WritableDrive, memory_store, writable_drive
from workers.publish import mirror as mirror_module
from workers.publish.folder import FolderUnreadable
from workers.publish.mirror import Mirror, Update
from workers.publish.published_index import INDEX_FILE, PublishedIndex
from workers.publish.spare import SPARE_META, SpareBlocks

OWNER = KeyPair.from_seed(bytes(32))


class Stage:
    """A folder, a drive, and a mirror that can be made anew as after a restart."""

    def __init__(self, tmp_path: Path, encryption_key: bytes | None = None) -> None:
        self.folder = tmp_path / "folder"
        self.folder.mkdir()
        self.index_path = tmp_path / INDEX_FILE
        self.store = memory_store()
        self.encryption_key = encryption_key
        self.flushes = 0
        self.restart()

    def restart(self) -> None:
        self.drive: WritableDrive = writable_drive(self.store, OWNER, encryption_key=self.encryption_key)
        self.spare = SpareBlocks(
            self.drive.plain_blobs, self.store.get_meta(SPARE_META), partial(self.store.set_meta, SPARE_META)
        )
        self.mirror = Mirror(
            self.folder,
            self.drive,
            index=PublishedIndex(self.index_path),
            spare=self.spare,
            flush=self._flush,
            exclude=["*.no"],
        )

    async def _flush(self) -> None:
        self.flushes += 1
        self.store.flush()

    def update(self) -> Update:
        return asyncio.run(self.mirror.update())

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def contents(self) -> dict[str, bytes | str]:
        """What a reader gets: contents of files, targets of links."""

        async def read() -> dict[str, bytes | str]:
            found: dict[str, bytes | str] = {}
            async for entry in self.drive.reader.list():
                if entry.linkname is not None:
                    found[entry.path] = entry.linkname
                else:
                    found[entry.path] = b"".join(
                        [chunk async for chunk in self.drive.reader.read(entry.path)]
                    )
            return found

        return asyncio.run(read())


def counts(update: Update) -> tuple[int, int, int]:
    return update.added, update.changed, update.removed


@pytest.fixture(params=[None, b"k" * 32], ids=["plain", "encrypted"])
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Stage:
    return Stage(tmp_path, request.param)


@pytest.fixture
def stable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files need not rest before they are vouched for."""
    monkeypatch.setattr(mirror_module, "STABLE_AFTER", -(10**18))


def test_the_drive_comes_to_hold_what_the_folder_holds(stage: Stage) -> None:
    big = os.urandom(3 * 65_536 + 17)
    stage.write("a/b.txt", b"text")
    stage.write("big", big)
    stage.write("empty", b"")
    stage.write("left.no", b"out")
    (stage.folder / "link").symlink_to("a/b.txt")
    update = stage.update()
    assert counts(update) == (4, 0, 0)
    assert (update.files, update.bytes) == (4, 4 + len(big))
    assert stage.contents() == {"/a/b.txt": b"text", "/big": big, "/empty": b"", "/link": "a/b.txt"}


def test_only_what_differs_is_written_again(stage: Stage) -> None:
    stage.write("same", b"same")
    stage.write("edited", b"before")
    stage.write("gone", b"x")
    (stage.folder / "link").symlink_to("same")
    stage.update()
    blobs = stage.drive.blobs.head.length
    stage.write("edited", b"after!")
    (stage.folder / "gone").unlink()
    (stage.folder / "link").unlink()
    (stage.folder / "link").symlink_to("edited")
    stage.write("new", b"n")
    assert counts(stage.update()) == (1, 2, 1)
    assert stage.drive.blobs.head.length == blobs + 2
    assert stage.contents() == {"/same": b"same", "/edited": b"after!", "/link": "edited", "/new": b"n"}


def test_a_folder_that_stayed_the_same_writes_nothing_even_after_a_restart(stage: Stage) -> None:
    stage.write("a", b"content")
    stage.write("b", b"")
    (stage.folder / "l").symlink_to("a")
    stage.update()
    version, flushes = stage.drive.reader.version, stage.flushes
    assert not stage.update().anything
    stage.restart()
    assert not stage.update().anything
    stage.index_path.write_text("{damaged")
    stage.restart()
    assert not stage.update().anything
    assert (stage.drive.reader.version, stage.flushes) == (version, flushes)


def test_files_that_are_unchanged_are_not_read_again(
    stage: Stage, stable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.write("a", b"content")
    stage.update()
    stage.restart()

    def refuse(folder: Path, path: str) -> object:
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr(mirror_module, "_open", refuse)
    assert not stage.update().anything


def test_a_change_that_leaves_size_and_time_alone_is_seen_while_the_file_is_fresh(stage: Stage) -> None:
    path = stage.write("a", b"before")
    found = path.stat()
    assert stage.update().unsettled
    path.write_bytes(b"after!")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert counts(stage.update()) == (0, 1, 0)


def test_becoming_executable_stores_no_content_again(stage: Stage) -> None:
    path = stage.write("run", b"#!/bin/sh")
    stage.update()
    blobs = stage.drive.blobs.head.length
    path.chmod(0o755)
    assert counts(stage.update()) == (0, 1, 0)
    assert stage.drive.blobs.head.length == blobs
    entry = asyncio.run(stage.drive.reader.entry("/run"))
    assert entry is not None and entry.executable


def test_a_file_may_become_a_folder_and_a_link_a_file(stage: Stage) -> None:
    stage.write("x", b"file")
    (stage.folder / "y").symlink_to("x")
    stage.update()
    (stage.folder / "x").unlink()
    (stage.folder / "y").unlink()
    stage.write("x/inside", b"1")
    stage.write("y", b"2")
    stage.update()
    assert stage.contents() == {"/x/inside": b"1", "/y": b"2"}


def test_a_file_that_changes_while_it_is_read_is_shown_when_it_rests(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stage.write("log", b"whole")
    stage.update()
    stage.write("log", b"half of")
    real = Mirrored.patch(monkeypatch, lambda: path.write_bytes(b"half of a line"))
    update = stage.update()
    assert real.called and update.unsettled and not update.anything
    assert stage.contents() == {"/log": b"whole"}
    assert stage.update().changed == 1
    assert stage.contents() == {"/log": b"half of a line"}


class Mirrored:
    """Lets something happen, once, after a file was read and before that is looked into."""

    def __init__(self, happens: Callable[[], object]) -> None:
        self.called = False
        self._happens = happens

    @classmethod
    def patch(cls, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> Mirrored:
        self, real = cls(happens), mirror_module._Step._append

        async def append(step: mirror_module._Step, file: object) -> object:
            blob = await real(step, file)  # type: ignore[arg-type]
            if not self.called:
                self.called = True
                self._happens()
            return blob

        monkeypatch.setattr(mirror_module._Step, "_append", append)
        return self


def test_a_folder_that_went_away_removes_nothing(stage: Stage) -> None:
    stage.write("a", b"1")
    stage.update()
    stage.folder.rename(stage.folder.with_name("away"))
    with pytest.raises(FolderUnreadable):
        stage.update()
    assert stage.contents() == {"/a": b"1"}


def test_what_can_no_longer_be_read_stays_published(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.write("a", b"1")
    stage.write("b", b"2")
    stage.update()
    stage.write("a", b"changed")
    stage.write("b", b"changed")
    real = mirror_module._open

    def denied(folder: Path, path: str) -> object:
        if path == "/a":
            raise PermissionError(13, "Permission denied")
        return real(folder, path)

    monkeypatch.setattr(mirror_module, "_open", denied)
    assert stage.update().problems == ("cannot read /a: Permission denied",)
    assert stage.contents() == {"/a": b"1", "/b": b"changed"}


def test_many_files_are_published_in_steps_and_large_contents_made_durable_on_the_way(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "BATCH_FILES", 10)
    monkeypatch.setattr(mirror_module, "UNFLUSHED_BYTES", 1 << 20)
    for number in range(25):
        stage.write(f"{number:02}", b"x")
    stage.write("zz", bytes(3 << 20))
    assert counts(stage.update()) == (26, 0, 0)
    assert stage.flushes == 3 + 3
    assert len(stage.contents()["/zz"]) == 3 << 20
