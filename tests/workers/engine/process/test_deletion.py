"""The engine process deletes what belongs to a removed key, and nothing that belongs to another one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hypercore.core import disk_store

from ....support.content import File
from ....support.engine import EngineChild
from ....support.node import Publisher
from ....support.published import publish_drive
from ..fakes import WriterOfDrive

pytestmark = pytest.mark.interop

FILES = [File(path=f"/{number}.bin", size=90_000) for number in range(20)]


class Place:
    """A data directory with the drive of an official publisher, complete, and a hostile drive beside it whose
    header names the blobs core of that drive as its own. The publisher is gone."""

    def __init__(self, data: Path, bootstrap: list[str], processes: ExitStack) -> None:
        self.data = data
        self._bootstrap = bootstrap
        self._processes = processes
        self.key = self.blobs = self.hostile = ""

    def start(self) -> EngineChild:
        child = EngineChild(self.data, self._bootstrap)
        self._processes.callback(child.dispose)
        return child

    def stop(self, child: EngineChild) -> None:
        child.send("stop")
        assert child.wait(20) == 0, child.describe()

    def have(self, core: str) -> int | None:
        with disk_store(self.data) as store:
            info = store.info(bytes.fromhex(core))
            return None if info is None else info.have

    def prepare(self, publisher: Publisher) -> dict[str, Any]:
        made = publish_drive(publisher, "plain", FILES)
        self.key, self.blobs = made["key"], made["blobs"]["key"]
        child = self.start()
        child.wait_event("ready")
        child.sync(self.key)
        child.wait_status(self.key, "complete")
        publisher.stop()
        self.stop(child)
        with disk_store(self.data) as store:
            drive = WriterOfDrive(store=store, content_feed=bytes.fromhex(self.blobs))
            self.hostile = drive.key.hex()
        child = self.start()
        child.sync(self.key, self.hostile)
        child.wait_status(self.hostile, "complete")
        self.stop(child)
        return made


@pytest.fixture
def place(
    tmp_path: Path, bootstrap: list[str], processes: ExitStack, publisher: Publisher
) -> tuple[Place, dict[str, Any]]:
    place = Place(tmp_path / "engine", bootstrap, processes)
    return place, place.prepare(publisher)


def peers(count: int) -> list[str]:
    return [os.urandom(32).hex() for _ in range(count)]


@pytest.mark.parametrize(
    ("before", "after"),
    [(0, 0), (100, 0), (0, 100)],
    ids=["alone", "behind a hundred new keys", "before a hundred new keys"],
)
def test_a_restart_with_a_removal_deletes_no_blobs_of_another_drive(
    place: tuple[Place, dict[str, Any]], before: int, after: int
) -> None:
    """The removal comes with the first `sync` of a restarted engine, when nothing has been opened yet; with
    more keys than are added in one turn, the drive itself is only about to be added."""
    scene, made = place
    child = scene.start()
    child.sync(*peers(before), scene.key, *peers(after), drop=[scene.hostile])
    child.wait_event("dropped", key=scene.hostile)
    child.wait_status(scene.key, "complete")
    child.send("prove", id="p", key=scene.key, core=scene.blobs, blocks=[0, 5])
    answer = child.wait_event("proof", id="p")
    assert answer["error"] == "" and all(proof["data"] for proof in answer["proofs"])
    scene.stop(child)
    assert scene.have(scene.hostile) is None
    assert scene.have(scene.blobs) == made["blobs"]["length"]
    assert scene.have(scene.key) == made["core"]["length"]


def test_a_removal_while_nothing_is_seeded_deletes_no_blobs_of_another_drive(
    place: tuple[Place, dict[str, Any]],
) -> None:
    """A paused worker names no entries, and goes on removing."""
    scene, made = place
    child = scene.start()
    child.sync(drop=[scene.hostile])
    child.wait_event("dropped", key=scene.hostile)
    scene.stop(child)
    assert scene.have(scene.blobs) == made["blobs"]["length"]
    child = scene.start()
    child.sync(drop=[scene.key])
    child.wait_event("dropped", key=scene.key)
    scene.stop(child)
    assert scene.have(scene.blobs) is None and scene.have(scene.key) is None


def _order(child: EngineChild, names: Sequence[str]) -> list[str]:
    return [event["event"] for event in child.events if event.get("event") in names]


def test_a_removal_is_carried_out_after_ready(place: tuple[Place, dict[str, Any]]) -> None:
    scene, _ = place
    child = scene.start()
    child.sync(scene.key, drop=[scene.hostile])
    child.wait_event("dropped", key=scene.hostile)
    assert _order(child, ["ready", "dropped"]) == ["ready", "dropped"]
    child.wait_event("synced", key=scene.key)
