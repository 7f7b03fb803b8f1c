"""What is watched of a folder: the folders in it, each once, and nothing behind a link."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from workers.publish import watch as watch_module
from workers.publish.folder import open_below, scan
from workers.publish.mirror import _open
from workers.publish.watch import Watcher

from ...support.seed_process import Publishing

NOWHERE = ["127.0.0.1:9"]


def watches(pid: int) -> int:
    """Directories that a process has the kernel watch."""
    count = 0
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            count += path.read_text().count("inotify wd:")
        except FileNotFoundError:
            continue
    return count


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three folders, with links to a large tree, to `/`, to itself, and to nothing."""
    outside = tmp_path / "outside"
    for number in range(500):
        (outside / f"{number % 20}" / f"{number}").mkdir(parents=True)
    folder = tmp_path / "folder"
    (folder / "a" / "deep").mkdir(parents=True)
    (folder / "a" / "file").write_bytes(b"x")
    (folder / "tree").symlink_to(outside)
    (folder / "root").symlink_to("/")
    (folder / "a" / "loop").symlink_to("..")
    (folder / "nothing").symlink_to("gone")
    return folder


async def come_to(count: int) -> None:
    """Wait until so many directories are watched."""
    async with asyncio.timeout(10):
        while watches(os.getpid()) != count:
            await asyncio.sleep(0.05)


async def run_until_idle(changed: asyncio.Event) -> bool:
    """Whether a change was reported."""
    try:
        async with asyncio.timeout(5):
            await changed.wait()
    except TimeoutError:
        return False
    changed.clear()
    return True


def test_links_are_not_followed_and_new_folders_are_watched(folder: Path) -> None:
    async def main() -> None:
        changed = asyncio.Event()
        watcher = Watcher(folder, changed)
        assert await watcher.watch(scan(folder).folders)
        assert watcher.count == 3
        await come_to(3)
        (folder / "a" / "deep" / "new").mkdir()
        assert await run_until_idle(changed)
        assert await watcher.watch(scan(folder).folders)
        await come_to(4)
        (folder / "a" / "deep" / "new" / "file").write_bytes(b"1")
        assert await run_until_idle(changed)
        changed.clear()
        assert not await watcher.watch(scan(folder).folders)
        await watcher.close()
        await come_to(0)

    asyncio.run(main())


def test_too_many_folders_are_looked_at_instead(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch_module, "MAX_WATCHES", 2)

    async def main() -> None:
        watcher = Watcher(folder, asyncio.Event())
        for _ in range(2):
            await watcher.watch(scan(folder).folders)
        assert watches(os.getpid()) == watcher.count == 0
        await watcher.close()

    asyncio.run(main())
    assert sum("looked at every 60 s" in record.message for record in caplog.records) == 1


def test_excluded_folders_are_not_watched(folder: Path) -> None:
    assert scan(folder, ["deep"]).folders == ["", "/a"]


def swapped(folder: Path, secret: Path) -> Iterator[Callable[[], object]]:
    """What is read below `/a` after that has become a link."""
    (folder / "a").rename(folder / "was")
    (folder / "a").symlink_to(secret)
    yield lambda: _open(folder, "/a/file")
    yield lambda: open_below(folder, "/a/deep", os.O_RDONLY | os.O_DIRECTORY)
    yield lambda: open_below(folder, "/a", os.O_RDONLY | os.O_DIRECTORY)


def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    (secret / "deep").mkdir(parents=True)
    (secret / "file").write_bytes(b"not to be published")
    for read in swapped(folder, secret):
        with pytest.raises(OSError):
            read()


@pytest.mark.slow
def test_a_published_folder_with_links_watches_itself_alone_and_stays_live(
    folder: Path, tmp_path: Path
) -> None:
    with ExitStack() as processes:
        publishing = Publishing(tmp_path / "data", NOWHERE, str(folder))
        processes.callback(publishing.dispose)
        published = publishing.wait_published()
        assert published["files"] == 5, "four links and a file"
        (folder / "a" / "deep" / "late").write_bytes(b"1")
        publishing.wait_published(files=6, since=publishing.position(), timeout=20)
        assert watches(publishing.pid) == 3
        assert publishing.interrupt() == 0
