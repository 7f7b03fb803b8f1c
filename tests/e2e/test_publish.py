"""A folder that we publish, read by the official reader."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from workers.publish.published_index import INDEX_FILE

from ..conftest import NewFarm, NewReader, NewSeeder
from ..support import seed_process as commands
from ..support.node import Reader
from ..support.seed_process import Publishing

pytestmark = pytest.mark.interop


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    (path / "2026" / "naïve ☃").mkdir(parents=True)
    (path / "readme.txt").write_bytes(b"hello\n")
    (path / "2026" / "naïve ☃" / "large.bin").write_bytes(os.urandom(2_500_000))
    (path / "empty").write_bytes(b"")
    (path / "run.sh").write_bytes(b"#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)
    (path / "latest").symlink_to("2026/naïve ☃/large.bin")
    return path


class Desk:
    """Where a folder is published from, again and again."""

    def __init__(self, folder: Path, bootstrap: list[str], processes: ExitStack) -> None:
        self.folder, self.bootstrap, self.processes = folder, bootstrap, processes
        self.data = folder.parent / "published"

    def publish(self, *options: str) -> Publishing:
        publishing = Publishing(self.data, self.bootstrap, str(self.folder), *options)
        self.processes.callback(publishing.dispose)
        return publishing


@pytest.fixture
def desk(folder: Path, bootstrap: list[str], processes: ExitStack) -> Desk:
    return Desk(folder, bootstrap, processes)


def holds(folder: Path) -> dict[str, tuple[str | None, str | None, bool]]:
    """Path → (SHA-256, link target, executable) of what is below a folder."""
    found: dict[str, tuple[str | None, str | None, bool]] = {}
    for path in folder.rglob("*"):
        name = "/" + path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = (None, str(path.readlink()), False)
        elif path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[name] = (digest, None, bool(path.stat().st_mode & 0o100))
    return found


def read(reader: Reader, version: int) -> dict[str, tuple[str | None, str | None, bool]]:
    """The same of the drive, as the official reader has it."""
    reader.complete("it", {"core": {"length": version, "fork": 0}, "blobs": None})
    files: dict[str, dict[str, Any]] = reader.ask("files", name="it")["files"]
    return {path: (file["sha256"], file["linkname"], file["executable"]) for path, file in files.items()}


def test_the_official_reader_gets_the_folder_and_what_changes_in_it(
    desk: Desk, folder: Path, new_reader: NewReader
) -> None:
    publishing = desk.publish("--exclude", "*.tmp")
    published = publishing.wait_published(files=5)
    assert published["added"] == 5
    reader = new_reader()
    reader.open("it", published["key"], "drive")
    assert read(reader, published["version"]) == holds(folder)

    (folder / "readme.txt").write_bytes(b"hello again\n")
    (folder / "empty").unlink()
    (folder / "ignored.tmp").write_bytes(b"scratch")
    (folder / "2026" / "naïve ☃").rename(folder / "2026" / "moved")
    (folder / "new").write_bytes(b"n")
    live = publishing.wait_for(
        lambda event: event.get("event") == "published" and event["version"] > published["version"],
        timeout=30,
        what="a change",
    )
    (folder / "ignored.tmp").unlink()
    newest = publishing.of("published")[-1]
    assert newest["version"] >= live["version"]
    while read(reader, newest["version"]) != holds(folder):  # changes made one after the other may be seen so
        since = publishing.position()
        newest = publishing.wait_published(since=since)
    publishing.check_contract()


def test_the_drive_outlives_its_publisher_and_goes_on_with_it(
    desk: Desk, folder: Path, new_farm: NewFarm, new_reader: NewReader
) -> None:
    first = desk.publish()
    published = first.wait_published(files=5)
    key = published["key"]
    ours = new_farm(key)
    ours.wait_synced(key, published["version"])
    first.kill()

    reader = new_reader()
    reader.open("it", key, "drive")
    assert read(reader, published["version"]) == holds(folder)

    (folder / "while away").write_bytes(b"1")
    again = desk.publish()
    newest = again.wait_published()
    assert (newest["key"], newest["added"], newest["changed"], newest["removed"]) == (key, 1, 0, 0)
    assert newest["version"] == published["version"] + 1
    assert read(reader, newest["version"]) == holds(folder)


def test_an_encrypted_folder_is_read_with_its_key_alone(
    desk: Desk, folder: Path, new_reader: NewReader
) -> None:
    publishing = desk.publish("--encrypt", "--no-watch")
    published = publishing.wait_published(files=5)
    secret = (desk.data / "encryption").read_text().strip()
    assert (desk.data / "encryption").stat().st_mode & 0o777 == 0o600
    reader = new_reader()
    reader.open("it", published["key"], "drive", encryption_key=secret)
    assert read(reader, published["version"]) == holds(folder)
    publishing.interrupt()
    kept = [path for path in desk.data.rglob("*") if path.is_file() and path.name != INDEX_FILE]
    stored = b"".join(path.read_bytes() for path in kept)  # the index names files of the folder, in plain
    assert b"run.sh" not in stored and b"#!/bin/sh" not in stored


def test_another_folder_does_not_take_the_place_of_the_published_one(desk: Desk, tmp_path: Path) -> None:
    publishing = desk.publish("--no-watch")
    published = publishing.wait_published()
    publishing.interrupt()
    other = tmp_path / "other"
    other.mkdir()
    options = ["--data", str(desk.data), "--no-watch", "--bootstrap", desk.bootstrap[0]]
    refused = commands.run("publish", str(other), *options)
    assert refused.returncode == 1
    assert b"holds the drive of" in refused.stderr and b"--moved" in refused.stderr
    refused = commands.run("publish", str(desk.folder), "--encrypt", *options)
    assert refused.returncode == 1
    assert b"cannot become so" in refused.stderr

    desk.folder = desk.folder.rename(tmp_path / "photos moved")
    moved = desk.publish("--moved", "--no-watch").wait_published()
    assert (moved["key"], moved["version"]) == (published["key"], published["version"])


@pytest.mark.slow
def test_a_large_file_whose_publisher_is_killed_again_and_again_is_carried_once(
    tmp_path: Path, bootstrap: list[str], processes: ExitStack, new_seeder: NewSeeder
) -> None:
    """Blocks that were signed stay signed: every seeder would carry what a stopped publisher left behind."""
    folder = tmp_path / "films"
    folder.mkdir()
    size = 200_000_000
    (folder / "film.mp4").write_bytes(os.urandom(size))
    desk = Desk(folder, bootstrap, processes)
    seeder, key, stored = new_seeder(), "", 0
    for number in range(6):
        publishing = desk.publish("--no-watch")
        if not key:
            ready = publishing.wait_for(lambda event: bool(event.get("key")), timeout=30, what="a key")
            key = ready["key"]
            seeder.ask("add", key=key, kind="drive")
        deadline = time.monotonic() + 20
        # Killed as soon as another part is durable, or in the middle of the next one
        while _stored(desk.data) <= stored and time.monotonic() < deadline and publishing.running:
            time.sleep(0.01)
        time.sleep(0.03 * number)
        publishing.kill()
        stored = _stored(desk.data)
    assert 0 < stored < size + 4_000_000
    published = desk.publish("--no-watch").wait_published(files=1, timeout=60)
    assert published["bytes"] == size
    blocks = -(-size // 65_536)
    seeder.ask("complete", keys=[key], timeout=60)
    status = seeder.ask("status", key=key)
    assert status["blobs"]["length"] == blocks, "each block of the file is there once"


def _stored(data: Path) -> int:
    """Bytes of blocks on disk."""
    return sum(path.stat().st_size for path in (data / "blocks").rglob("*.blocks"))


@pytest.mark.parametrize(
    ("folder", "expected"), [("gone", b"is not there"), ("file", b"is not a folder"), (".", b"is inside")]
)
def test_what_cannot_be_published_is_refused_with_one_line(
    tmp_path: Path, folder: str, expected: bytes
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    ended = commands.run("publish", str(tmp_path / folder), "--data", str(tmp_path / "data"))
    assert ended.returncode == 2
    assert expected in ended.stderr and ended.stderr.count(b"\n") == 1
    assert not (tmp_path / "data").exists()
