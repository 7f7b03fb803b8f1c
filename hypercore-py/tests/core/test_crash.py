"""A flush that is cut off at each of its steps, by a kill and by a power failure.

Each scene is played once for every step that its flushes take. At that step the data directory is copied as
it is: that is what a kill leaves. For a power failure, what was not synced by then is damaged in the copy:
bytes of block files that no fdatasync covered, new files whose directory was not synced, the tail of the
write-ahead log that no commit covered. The copy must open with all that earlier flushes had made durable
(less what this one was about to take away), every block of it must verify, and the head must be an old or a
new one, whole.

Then the flush fails with an exception, and the process that lives on must be able to repeat it.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from hypercore.core import Core, Store
from hypercore.crypto import KeyPair
from hypercore.errors import StorageError
from hypercore.merkle.head import TreeHead
from hypercore.storage import DiskBackend, core_storage, schema
from hypercore.storage.crash_points import CrashPoint
from hypercore.testing.cores import Writer, download, make_writer, sample_blocks
from support.core_places import contents

pytestmark = pytest.mark.slow


class Cut(Exception):
    """The moment at which the scene is cut off."""


class State(NamedTuple):
    head: TreeHead
    blocks: dict[int, bytes]


def state_of(store: Store) -> dict[bytes, State]:
    found = {}
    for info in store.cores():
        core = store.open_core(info.key, create=False)
        assert core is not None
        found[info.key] = State(core.head, contents(core))
    return found


class Stage:
    """A store over a directory, and the camera that stops it at one step."""

    def __init__(self, path: Path, *, cut_at: int | None, power: random.Random | None) -> None:
        self.path = path
        self.steps: list[CrashPoint] = []
        self.cut_at = cut_at
        self.power = power
        self.rolling = False
        self.unsynced: dict[str, list[tuple[int, int]]] = {}
        self.unsynced_names: set[str] = set()
        self.log_size = 0
        self.image = path.with_name("image")
        self.store = Store(DiskBackend(path, on_step=self.on_step))

    def on_step(self, step: CrashPoint, path: str = "", offset: int = 0, size: int = 0) -> None:
        if step is CrashPoint.CREATE_FILE:
            self.unsynced_names.add(path)
        elif step is CrashPoint.WROTE:
            self.unsynced.setdefault(path, []).append((offset, size))
        elif step is CrashPoint.SYNCED:
            self.unsynced.pop(path, None)
            self.unsynced_names.discard(path)
        elif step in (CrashPoint.BEGIN, CrashPoint.COMMITTED):
            self.log_size = self.log_path(self.path).stat().st_size
        if not self.rolling:
            return
        self.steps.append(step)
        if len(self.steps) - 1 == self.cut_at:
            self.take_image()
            raise Cut(step.value)

    @staticmethod
    def log_path(directory: Path) -> Path:
        return directory / "cores.db-wal"

    def take_image(self) -> None:
        shutil.copytree(self.path, self.image)
        if self.power is None:
            return
        for path in self.unsynced_names:
            copy = self.image / Path(path).relative_to(self.path)
            if copy.exists() and self.power.random() < 0.5:
                copy.unlink()
        for path, ranges in self.unsynced.items():
            copy = self.image / Path(path).relative_to(self.path)
            if not copy.exists():
                continue
            with copy.open("r+b") as file:
                for offset, size in ranges:
                    start = offset + self.power.randrange(size + 1)
                    file.seek(start)
                    file.write(self.power.choice([bytes, self.power.randbytes])(offset + size - start))
        log = self.log_path(self.image)
        size = log.stat().st_size
        if size > self.log_size:
            with log.open("r+b") as file:
                cut = self.power.randrange(self.log_size, size + 1)
                if self.power.random() < 0.5:
                    file.truncate(cut)
                else:
                    file.seek(cut)
                    file.write(self.power.randbytes(size - cut))


SMALL = sample_blocks(70)
FETCHED_AGAIN = {12, 13, 39}
"""Blocks that some scenes drop and fetch again between two flushes."""

FAT = [n.to_bytes(2, "big") * 100 for n in range(70)]

Scene = Callable[[Stage], Callable[[], None]]
"""Sets the stage, makes it durable, and gives what is to be flushed while the camera rolls."""


def writer_on(stage: Stage, blocks: list[bytes], seed: int = 1) -> Writer:
    return make_writer(blocks, store=stage.store, seed=seed)


def copy_on(stage: Stage, source: Core, indices: list[int] | None = None) -> Core:
    core = stage.store.open_core(source.key)
    assert core is not None
    download(source, core, indices)
    stage.store.flush()
    return core


def new_small_core(stage: Stage) -> Callable[[], None]:
    writer = writer_on(stage, SMALL, seed=2)
    peer = KeyPair.from_seed(bytes(32))

    def act() -> None:
        stage.store.create_core(peer).append(SMALL, peer)
        writer.core.meta = b"changed"

    return act


def new_large_core(stage: Stage) -> Callable[[], None]:
    source = make_writer(FAT).core
    core = stage.store.open_core(source.key)
    assert core is not None
    stage.store.flush()
    return lambda: download(source, core)


def growing_small_core(stage: Stage) -> Callable[[], None]:
    writer = writer_on(stage, SMALL)
    return lambda: void(writer.core.append(SMALL, writer.key_pair))


def growing_large_core(stage: Stage) -> Callable[[], None]:
    writer = writer_on(stage, FAT)
    return lambda: void(writer.core.append(FAT, writer.key_pair))


def rows_moving_into_a_file(stage: Stage) -> Callable[[], None]:
    writer = writer_on(stage, FAT[:8])
    writer.core.clear(2, 4)
    stage.store.flush()
    return lambda: void(writer.core.append(FAT, writer.key_pair))


def filling_gaps(stage: Stage) -> Callable[[], None]:
    source = make_writer(FAT).core
    core = copy_on(stage, source, [0, 1, 2, 30, 31, 69])
    return lambda: download(source, core, [3, 4, 29, 50, 51, 68])


def truncated_and_regrown_writer(stage: Stage) -> Callable[[], None]:
    writer = writer_on(stage, FAT)

    def act() -> None:
        writer.core.truncate(20, writer.key_pair)
        writer.core.append([block[::-1] + b"!" for block in FAT[:60]], writer.key_pair)

    return act


def truncated_small_writer(stage: Stage) -> Callable[[], None]:
    writer = writer_on(stage, SMALL)

    def act() -> None:
        writer.core.truncate(20, writer.key_pair)
        writer.core.append([b"new"] * 7, writer.key_pair)

    return act


def truncated_to_nothing(stage: Stage) -> Callable[[], None]:
    writer = writer_on(stage, FAT)
    return lambda: void(writer.core.truncate(0, writer.key_pair))


def followed_fork(stage: Stage) -> Callable[[], None]:
    writer = make_writer(FAT)
    core = copy_on(stage, writer.core)
    writer.truncate(33)
    writer.append(*[block[:50] + b"fork" for block in FAT])
    return lambda: download(writer.core, core)


def cleared_and_fetched_again(stage: Stage) -> Callable[[], None]:
    source = make_writer(FAT).core
    core = copy_on(stage, source)

    def act() -> None:
        core.clear(10, 40)
        download(source, core, sorted(FETCHED_AGAIN))

    return act


def cleared_rows(stage: Stage) -> Callable[[], None]:
    source = make_writer(SMALL).core
    core = copy_on(stage, source)

    def act() -> None:
        core.clear(10, 40)
        download(source, core, sorted(FETCHED_AGAIN))

    return act


def removed_and_made_again(stage: Stage) -> Callable[[], None]:
    first, second = writer_on(stage, FAT), writer_on(stage, FAT, seed=2)
    small = writer_on(stage, SMALL, seed=3)

    def act() -> None:
        for writer in (first, second, small):
            stage.store.remove_core(writer.core.key)
        again = stage.store.open_core(second.core.key)
        assert again is not None
        download(make_writer(FAT, seed=2).core, again)

    return act


def many_cores_at_once(stage: Stage) -> Callable[[], None]:
    writers = [
        writer_on(stage, blocks, seed) for seed, blocks in enumerate([FAT, SMALL, FAT, FAT[:5], SMALL])
    ]

    def act() -> None:
        for writer in writers:
            writer.core.append(FAT[:10], writer.key_pair)
        writers[0].core.truncate(5, writers[0].key_pair)
        writers[2].core.clear(0, 60)

    return act


def void(_: object) -> None:
    """For lambdas whose value is not used."""


SCENES: list[Scene] = [
    new_small_core,
    new_large_core,
    growing_small_core,
    growing_large_core,
    rows_moving_into_a_file,
    filling_gaps,
    truncated_and_regrown_writer,
    truncated_small_writer,
    truncated_to_nothing,
    followed_fork,
    cleared_and_fetched_again,
    cleared_rows,
    removed_and_made_again,
    many_cores_at_once,
]


def check_image(path: Path, before: dict[bytes, State], after: dict[bytes, State]) -> str:
    """What is in the image must be the old state, the new one, or something between that gives away nothing
    but what this flush was about to take away. Reports which.
    """
    with Store(DiskBackend(path)) as store:
        assert all(opened(store, info.key).check_head() for info in store.cores())
        found = state_of(store)  # reads, and so verifies, every block
    if found == after:
        return "after"
    if found == before:
        return "before"
    assert before.keys() <= found.keys() <= before.keys() | after.keys()
    for key, state in found.items():
        old, new = before[key], after[key]
        if state != old:
            # Given up first, to be written over: the new head, and no block that was not durable before
            assert state.head == new.head
            kept = {index: block for index, block in new.blocks.items() if old.blocks.get(index) == block}
            assert state.blocks.items() <= kept.items()
            if old.head.fork == new.head.fork:
                assert set(kept) - set(state.blocks) <= set(new.blocks) & FETCHED_AGAIN
            else:
                assert state.blocks == kept
    return "between"


def play(scene: Scene, path: Path, cut_at: int | None, power: random.Random | None) -> tuple[int, str]:
    """Plays a scene, cut off at a step. Gives the number of steps, and what the image turned out to be."""
    stage = Stage(path, cut_at=cut_at, power=power)
    act = scene(stage)
    stage.store.flush()
    before = state_of(stage.store)
    act()
    after = state_of(stage.store)
    stage.rolling = True
    try:
        stage.store.flush()
    except (Cut, StorageError):
        # The process lives on: nothing is lost in memory, and the flush can be repeated
        assert state_of(stage.store) == after
        stage.rolling = False
        stage.store.flush()
    else:
        assert cut_at is None
    stage.store.close()
    with Store(DiskBackend(path)) as store:
        assert state_of(store) == after
    outcome = check_image(stage.image, before, after) if cut_at is not None else "after"
    return len(stage.steps), outcome


def opened(store: Store, key: bytes) -> Core:
    core = store.open_core(key, create=False)
    assert core is not None
    return core


@pytest.fixture(autouse=True)
def small_is_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes are a large core; and as the failures are made by hand, nothing has to be synced
    really: hundreds of crashes take seconds."""
    monkeypatch.setattr(core_storage, "INLINE_MAX_BYTES", 4000)
    monkeypatch.setattr(schema, "SYNCHRONOUS", "OFF")
    monkeypatch.setattr(os, "fsync", void)
    monkeypatch.setattr(os, "fdatasync", void)


@pytest.mark.parametrize("power", [False, True], ids=["kill", "power"])
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_a_flush_cut_off_anywhere_leaves_a_sound_store(scene: Scene, power: bool, tmp_path: Path) -> None:
    steps, _ = play(scene, tmp_path / "whole", None, None)
    assert steps >= 4
    outcomes = []
    for cut_at in range(steps):
        for salt in range(3 if power else 1):
            folder = tmp_path / f"{cut_at}-{salt}"
            folder.mkdir()
            lightning = random.Random(f"{scene.__name__} {cut_at} {salt}") if power else None
            outcomes.append(play(scene, folder / "data", cut_at, lightning)[1])
            shutil.rmtree(folder)
    assert outcomes[0] == "before"
    assert "after" in outcomes or not power  # the steps behind the commit
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_files_are_synced_before_the_commit_that_counts_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps above are what the code says of itself; here are the calls it makes."""
    calls: list[str] = []

    def on_step(step: CrashPoint, path: str = "", offset: int = 0, size: int = 0) -> None:
        if step in (CrashPoint.WROTE, CrashPoint.COMMIT):
            calls.append(step.name)

    monkeypatch.setattr(os, "fdatasync", lambda _: calls.append("fdatasync"))
    monkeypatch.setattr(os, "fsync", lambda _: calls.append("fsync"))
    with Store(DiskBackend(tmp_path / "data", on_step=on_step)) as store:
        writer = make_writer([b"small"], store=store)
        assert calls[-1] == "COMMIT"
        calls.clear()
        writer.core.append(FAT, writer.key_pair)
        store.flush()
        # The folder's name, the blocks, the file's name, and only then the commit
        assert calls == ["fsync", "WROTE", "WROTE", "fdatasync", "fsync", "COMMIT"]
        calls.clear()
        writer.core.append(FAT, writer.key_pair)
        store.flush()
        assert calls == ["WROTE", "fdatasync", "COMMIT"]
        calls.clear()
        writer.core.truncate(10, writer.key_pair)
        writer.core.append(FAT, writer.key_pair)
        store.flush()
        assert calls == ["COMMIT", "WROTE", "fdatasync", "COMMIT"]
