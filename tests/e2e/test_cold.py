"""Drives that are put away, and official peers that ask for them, append to them, or come back with more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from hypercore.dht.address import parse_bootstrap
from workers.engine.engine import Engine
from workers.engine.launch import running_engine
from workers.engine.model.events import Event, Synced
from workers.engine.seeds.cold import Cold
from workers.engine.settings.key_list import SeedSpec
from workers.engine.settings.settings import EngineSettings

from ..conftest import NewReader
from ..support.content import File
from ..support.node import Publisher, Testnet
from ..support.published import Made, read_drive

pytestmark = pytest.mark.interop

TIMEOUT = 60.0

T = TypeVar("T")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are put away soon."""
    for name in ("stage.REST_AFTER", "stage.COLD_AFTER", "lookup_schedule.LOOKUP_TIME"):
        monkeypatch.setattr(f"workers.engine.seeds.{name}", 0.3)


class Scene:
    """An engine of ours in this process, so that it can be looked into; the others are processes."""

    def __init__(self, engine: Engine, events: list[Event], key: bytes) -> None:
        self.engine = engine
        self.events = events
        self.key = key

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                await asyncio.sleep(0.02)

    async def synced(self, made: Made) -> None:
        version = made["core"]["length"]
        await self.until(
            lambda: any(isinstance(event, Synced) and event.version == version for event in self.events)
        )

    async def put_away(self) -> None:
        await self.until(self.is_cold)

    def is_cold(self) -> bool:
        member = self.engine._seeds.get(self.key)
        return member is not None and isinstance(member.state, Cold)

    async def resting(self) -> None:
        def rests() -> bool:
            warm = self.engine._seeds.warm(self.key)
            return warm is not None and not warm.seed._active

        await self.until(rests)


async def run(act: Callable[[], T]) -> T:
    """Something with a peer that blocks."""
    return await asyncio.to_thread(act)


def play(testnet: Testnet, data: Path, key: str, scene: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        bootstrap = tuple(map(parse_bootstrap, testnet.bootstrap))
        settings = EngineSettings(data=data, bootstrap=bootstrap, host="127.0.0.1")
        events: list[Event] = []
        async with running_engine(settings, events.append) as engine:
            engine.add([SeedSpec(bytes.fromhex(key))])
            await scene(Scene(engine, events, bytes.fromhex(key)))

    asyncio.run(main())


def test_a_drive_that_is_put_away_is_followed_and_served_as_any_other(
    testnet: Testnet, publisher: Publisher, new_reader: NewReader, tmp_path: Path
) -> None:
    files = [File(path=f"/file {number}", size=number * 30_000) for number in range(4)]
    publisher.make("thing", "drive")
    publisher.put_all("thing", files)
    made = publisher.ask("describe", name="thing")
    publisher.ask("join", name="thing")

    def append(by: Publisher) -> Made:
        added = File(path=f"/added {len(files)}", size=100_000)
        files.append(added)
        by.put_all("thing", [added])
        return by.ask("describe", name="thing")

    async def scene(ours: Scene) -> None:
        await ours.synced(made)
        await ours.resting()  # its publisher is connected, and has it open
        await ours.synced(await run(lambda: append(publisher)))
        await run(publisher.stop)
        await ours.put_away()

        back = await run(lambda: Publisher(publisher.storage, testnet.bootstrap))
        try:
            await run(lambda: back.make("thing", "drive"))
            newer = await run(lambda: append(back))
            await run(lambda: back.ask("join", name="thing"))
            await ours.synced(newer)
        finally:
            await run(back.dispose)
        await ours.put_away()
        seen = len(ours.events)

        reader = new_reader()
        await run(lambda: read_drive(reader, newer, files))
        assert not ours.is_cold()
        await run(reader.dispose)
        await ours.put_away()
        assert not [event for event in ours.events[seen:] if isinstance(event, Synced)]

    play(testnet, tmp_path / "ours", made["key"], scene)


def test_a_drive_is_served_from_a_restart_that_did_not_open_it(
    testnet: Testnet, publisher: Publisher, new_reader: NewReader, tmp_path: Path
) -> None:
    files = [File(path="/file", size=200_000)]
    publisher.make("thing", "drive")
    publisher.put_all("thing", files)
    made = publisher.ask("describe", name="thing")
    publisher.ask("join", name="thing")

    async def first(ours: Scene) -> None:
        await ours.synced(made)
        await ours.resting()

    async def second(ours: Scene) -> None:
        assert ours.is_cold()
        await ours.synced(made)
        reader = new_reader()
        await run(lambda: read_drive(reader, made, files))

    play(testnet, tmp_path / "ours", made["key"], first)
    publisher.stop()
    play(testnet, tmp_path / "ours", made["key"], second)
