"""Publishers stopped at any moment, and files that change while they are read, leave no dead blocks."""

from __future__ import annotations

import asyncio
import os
import random
from functools import partial
from pathlib import Path

import pytest

from hypercore import KeyPair, writable_drive
from hypercore.core import Store, disk_store
from workers.publish import mirror as mirror_module
from workers.publish.mirror import Mirror
from workers.publish.published_index import INDEX_FILE, PublishedIndex
from workers.publish.spare import BLOCK_BYTES, SPARE_META, SpareBlocks

OWNER = KeyPair.from_seed(bytes(32))


class Killed(BaseException):
    """In place of SIGKILL."""


class Desk:
    """A folder that is published from a data directory, by publishers that are killed."""

    def __init__(self, tmp_path: Path, encryption_key: bytes | None) -> None:
        self.folder, self.data = tmp_path / "folder", tmp_path / "data"
        self.folder.mkdir()
        self.encryption_key = encryption_key
        self.flushes_left = 10**9
        self.after = False
        self.start()

    def start(self) -> None:
        self.store: Store = disk_store(self.data)
        self.drive = writable_drive(self.store, OWNER, encryption_key=self.encryption_key)
        self.spare = SpareBlocks(
            self.drive.plain_blobs, self.store.get_meta(SPARE_META), partial(self.store.set_meta, SPARE_META)
        )
        self.mirror = Mirror(
            self.folder,
            self.drive,
            index=PublishedIndex(self.data / INDEX_FILE),
            spare=self.spare,
            flush=self._flush,
        )

    async def _flush(self) -> None:
        self.flushes_left -= 1
        if self.flushes_left < 0 and not self.after:
            raise Killed
        self.store.flush()
        if self.flushes_left < 0:
            raise Killed

    def publish(self, *, flushes: int = 10**9, after: bool = False) -> bool:
        """Whether it came to its end before it was killed, at flush number `flushes` (before or after it)."""
        self.flushes_left, self.after = flushes, after
        try:
            asyncio.run(self.mirror.update())
        except Killed:
            self.start_again()
            return False
        return True

    def start_again(self) -> None:
        """As after SIGKILL: nothing is flushed, what is in memory is lost."""
        self.store.backend.close()
        self.start()

    def write(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    def check_contents(self) -> None:
        async def read() -> dict[str, bytes]:
            reader = self.drive.reader
            return {
                entry.path[1:]: b"".join([chunk async for chunk in reader.read(entry.path)])
                async for entry in reader.list()
            }

        assert asyncio.run(read()) == {path.name: path.read_bytes() for path in self.folder.iterdir()}

    @property
    def blocks(self) -> int:
        return self.drive.blobs.head.length

    @property
    def needed_blocks(self) -> int:
        return sum(-(-path.stat().st_size // BLOCK_BYTES) for path in self.folder.iterdir())


@pytest.fixture(params=[None, b"k" * 32], ids=["plain", "encrypted"])
def desk(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(mirror_module, "UNFLUSHED_BYTES", 2 * BLOCK_BYTES)
    monkeypatch.setattr(mirror_module, "READ_BYTES", 2 * BLOCK_BYTES)
    monkeypatch.setattr(mirror_module, "BATCH_FILES", 4)
    return Desk(tmp_path, request.param)


def test_a_large_file_that_was_stopped_again_and_again_is_stored_once(desk: Desk) -> None:
    desk.write("large", os.urandom(20 * BLOCK_BYTES + 17))
    flushes = 1
    while not desk.publish(flushes=flushes):
        flushes += 1
        assert flushes < 30
    assert flushes > 3, "it was stopped more than once"
    desk.check_contents()
    assert desk.blocks == 21
    assert desk.spare.count == 0


@pytest.mark.parametrize("seed", range(6))
def test_publishers_that_are_killed_at_any_flush_store_everything_once(desk: Desk, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(12):
        size = chance.choice([0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES, 7 * BLOCK_BYTES + 5])
        desk.write(f"{number:02}", chance.randbytes(size))
    for _ in range(200):
        if desk.publish(flushes=chance.randrange(4), after=chance.random() < 0.5):
            break
    else:
        desk.publish()
    desk.check_contents()
    assert desk.blocks == desk.needed_blocks
    assert desk.spare.count == 0


def test_a_file_that_grows_while_it_is_read_is_stored_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write("log", b"")
    real = mirror_module._Step._append
    grown = 0

    async def append(step: mirror_module._Step, file: object) -> object:
        nonlocal grown
        blob = await real(step, file)  # type: ignore[arg-type]
        if grown < 5:
            grown += 1
            with (desk.folder / "log").open("ab") as log:
                log.write(os.urandom(BLOCK_BYTES + 7))
        return blob

    monkeypatch.setattr(mirror_module._Step, "_append", append)
    for _ in range(7):
        asyncio.run(desk.mirror.update())
    desk.check_contents()
    assert desk.drive.blobs.head.byte_length - (desk.blocks * 8 if desk.encryption_key else 0) == sum(
        path.stat().st_size for path in desk.folder.iterdir()
    ), "no byte is stored twice"
    assert desk.spare.count == 0


def test_blocks_of_a_file_that_went_stay_spare_and_are_used_when_it_comes_back(desk: Desk) -> None:
    first, second = os.urandom(9 * BLOCK_BYTES), os.urandom(5 * BLOCK_BYTES)
    desk.write("a", first)
    assert not desk.publish(flushes=3)  # six blocks of it
    (desk.folder / "a").unlink()
    desk.write("b", second)
    assert desk.publish()
    assert (desk.blocks, desk.spare.count) == (6 + 5, 6)
    desk.write("c", first[: 6 * BLOCK_BYTES])
    desk.start_again()
    assert desk.publish()
    assert (desk.blocks, desk.spare.count) == (6 + 5, 0), "found by their content, over a restart"
    desk.check_contents()


def test_a_content_inside_of_the_spare_blocks_is_found(desk: Desk) -> None:
    parts = [os.urandom(2 * BLOCK_BYTES) for _ in range(3)]
    desk.write("all", b"".join(parts) + os.urandom(9 * BLOCK_BYTES))
    assert not desk.publish(flushes=3)
    (desk.folder / "all").unlink()
    desk.write("middle", parts[1])
    assert desk.publish()
    assert (desk.blocks, desk.spare.count) == (6, 4)
    desk.check_contents()


def test_a_changed_file_shares_nothing_by_mistake(desk: Desk) -> None:
    content = os.urandom(9 * BLOCK_BYTES)
    desk.write("a", content)
    assert not desk.publish(flushes=2)
    changed = content[: 3 * BLOCK_BYTES] + b"!" + content[3 * BLOCK_BYTES + 1 :]
    desk.write("a", changed)
    assert desk.publish()
    desk.check_contents()


def test_a_large_folder_is_shown_in_steps(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "BATCH_BYTES", 4 * BLOCK_BYTES)
    monkeypatch.setattr(mirror_module, "BATCH_FILES", 1000)
    for name in "abc":
        desk.write(name, os.urandom(4 * BLOCK_BYTES))
    assert not desk.publish(flushes=4)
    assert desk.drive.reader.version > 1, "the first files are there while the others are read"
    assert desk.publish()
    desk.check_contents()
    assert desk.blocks == 12
