"""The engine with real cores and replication, over connections in memory and a swarm that pretends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from hypercore.aio.cores.corestore import Corestore
from hypercore.core import memory_store
from hypercore.crypto import discovery_key
from hypercore.errors import StoreFull, StoreUnreadable
from workers.engine import engine as engine_module
from workers.engine.model.events import CoreChanged, PeerChanged, Problem, Progress, Ready, Synced
from workers.engine.model.kind import Kind
from workers.engine.seeds import problems
from workers.engine.settings.key_list import SeedSpec
from workers.engine.settings.settings import EngineSettings

from .fakes import Writer, WriterOfDrive
from .farms import SETTINGS, Farm, published, scenario


@scenario
async def test_a_key_that_is_not_announced_joins_no_topic_and_follows_peers_that_are_connected() -> None:
    writer = Writer()
    writer.append(b"1", b"2")
    theirs = published(writer)
    async with Farm() as farm:
        farm.engine.add([SeedSpec(writer.key, Kind.CORE, announce=False)])
        farm.connect(theirs)
        await farm.until(lambda: bool(farm.synced(writer.key)))
        writer.append(b"3")
        await farm.until(lambda: len(farm.synced(writer.key)) == 2)
        assert farm.swarm.topics == {}
        assert await farm.engine.remove(writer.key)
    await theirs.close()


@scenario
async def test_a_core_is_downloaded_reported_and_served_after_the_peer_has_gone() -> None:
    writer = Writer()
    writer.append(*(b"%d" % number for number in range(300)))
    theirs = published(writer)
    async with Farm() as farm:
        farm.engine.add([SeedSpec(writer.key, Kind.CORE)])
        assert farm.swarm.topics[discovery_key(writer.key)].client
        farm.connect(theirs)
        await farm.until(lambda: bool(farm.synced(writer.key)))
        await farm.engine.all_synced()
        assert farm.synced(writer.key) == [
            Synced(key=writer.key, kind=Kind.CORE, version=300, length=300, bytes=writer.core.byte_length)
        ]
        await theirs.close()
        await farm.until(lambda: any(isinstance(e, PeerChanged) and e.state == "close" for e in farm.events))
        (closed,) = [e for e in farm.events if isinstance(e, PeerChanged) and e.state == "close"]
        assert (closed.bytes_in, closed.bytes_out) == (writer.core.byte_length, 0)

        reader = Corestore(memory_store())
        copy = reader.get(writer.key)
        copy.download()
        farm.connect(reader)
        async with asyncio.timeout(10):
            await copy.synced()
        assert copy.peek(299) == b"299"
        assert farm.engine.status().seeds[0].bytes_out == writer.core.byte_length
        await reader.close()
    assert isinstance(farm.events[0], Ready)
    assert farm.events[0].bootstrap == ("127.0.0.1:4000",)


@scenario
async def test_a_topic_has_peers_while_those_of_its_key_are_connected() -> None:
    writer = Writer()
    writer.append(b"x")
    topic = discovery_key(writer.key)
    theirs = published(writer)
    async with Farm() as farm:
        assert farm.seeds.lacks_peers(topic) and not farm.seeds.has_peers(topic)
        farm.engine.add([SeedSpec(writer.key, Kind.CORE)])
        assert farm.seeds.lacks_peers(topic) and not farm.seeds.has_peers(topic)
        farm.connect(theirs)
        await farm.until(lambda: bool(farm.synced(writer.key)))
        assert farm.seeds.has_peers(topic) and not farm.seeds.lacks_peers(topic)
        await farm.engine.remove(writer.key)
        assert farm.seeds.lacks_peers(topic) and not farm.seeds.has_peers(topic)
    await theirs.close()


@scenario
async def test_both_cores_of_a_drive_are_downloaded_and_appends_are_followed() -> None:
    drive = WriterOfDrive()
    for number in range(20):
        drive.put(f"/file {number}", b"x" * 1_000, b"y" * number)
    theirs = published(drive)
    async with Farm() as farm:
        farm.engine.add([SeedSpec(drive.key)])
        farm.connect(theirs)
        await farm.until(lambda: bool(farm.synced(drive.key)))
        assert farm.synced(drive.key)[-1].length == drive.db.core.length + drive.blobs.length
        for number in range(3):
            drive.put(f"/later {number}", b"z" * 5_000)
            wanted = drive.db.core.length
            await farm.until(lambda wanted=wanted: farm.synced(drive.key)[-1].version == wanted)  # type: ignore[misc]
            assert farm.synced(drive.key)[-1].length == drive.db.core.length + drive.blobs.length
    roles = {event.core: event.role.value for event in farm.events if isinstance(event, CoreChanged)}
    assert roles == {drive.key: "db", drive.blobs.key: "blobs"}
    await theirs.close()


@scenario
async def test_an_encrypted_drive_is_recognised_by_what_its_peer_has() -> None:
    drive = WriterOfDrive(encrypted=True)
    drive.put("/secret", b"x" * 1_000)
    theirs = published(drive)
    async with Farm() as farm:
        farm.engine.add([SeedSpec(drive.key)])
        farm.connect(theirs)
        await farm.until(lambda: bool(farm.synced(drive.key)))
        assert farm.synced(drive.key)[-1].kind is Kind.DRIVE
        assert farm.synced(drive.key)[-1].length == 3
    await theirs.close()


@scenario
async def test_a_restart_downloads_nothing_that_was_synced() -> None:
    drive = WriterOfDrive()
    drive.put("/a", b"x" * 1_000)
    theirs = published(drive)
    first = Farm()
    await first.engine.start()
    first.engine.add([SeedSpec(drive.key)])
    first.connect(theirs)
    await first.until(lambda: bool(first.synced(drive.key)))
    # A memory store ends with its corestore, so the first engine is not stopped but emptied.
    for key in first.engine.keys:
        await first.engine.remove(key)

    second = Farm(store=first.store)
    await second.engine.start()
    second.engine.add([SeedSpec(drive.key)])
    await second.until(lambda: bool(second.synced(drive.key)))
    second.connect(theirs)
    await second.until(lambda: second.engine.status().seeds[0].peers == 1)
    await asyncio.sleep(0.2)
    assert second.engine.status().seeds[0].bytes_in == 0
    await second.engine.stop()
    await theirs.close()


@scenario
async def test_keys_are_added_and_removed_while_it_runs() -> None:
    one, two = Writer(compat=True), Writer(compat=True)
    one.append(b"one")
    two.append(b"two")
    async with Farm() as farm:
        farm.engine.add([SeedSpec(one.key)])
        farm.engine.add([SeedSpec(one.key), SeedSpec(two.key)])
        assert farm.engine.keys == [one.key, two.key]
        assert await farm.engine.remove(one.key)
        assert not await farm.engine.remove(one.key)
        assert farm.swarm.topics[discovery_key(one.key)].left
        theirs = [published(one), published(two)]
        for store in theirs:
            farm.connect(store)
        await farm.until(lambda: bool(farm.synced(two.key)))
        assert farm.synced(one.key) == []
        assert [seed.key for seed in farm.engine.status().seeds] == [two.key]
        for store in theirs:
            await store.close()


@scenario
async def test_all_synced_waits_for_every_key() -> None:
    one, two = Writer(compat=True), Writer(compat=True)
    one.append(b"one")
    two.append(b"two")
    theirs = [published(one), published(two)]
    async with Farm() as farm:
        farm.engine.add([SeedSpec(one.key), SeedSpec(two.key)])
        farm.connect(theirs[0])
        waiting = asyncio.create_task(farm.engine.all_synced())
        await farm.until(lambda: bool(farm.synced(one.key)))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        farm.connect(theirs[1])
        async with asyncio.timeout(10):
            await waiting
    for store in theirs:
        await store.close()


@scenario
async def test_without_announcing_a_topic_is_joined_as_client_alone() -> None:
    settings = EngineSettings(data=Path("unused"), announce=False)
    async with Farm(settings=settings) as farm:
        farm.engine.add([SeedSpec(bytes(32))])
        topic = farm.swarm.topics[discovery_key(bytes(32))]
        assert (topic.server, topic.client) == (False, True)


def test_a_key_that_no_peer_has_is_looked_for_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.engine.seeds.lookup_schedule.FIRST_REPEAT", 0.01)
    monkeypatch.setattr("workers.engine.seeds.lookup_schedule.LONGEST_REPEAT", 0.02)

    @scenario
    async def run() -> None:
        async with Farm() as farm:
            farm.engine.add([SeedSpec(bytes(32))])
            await farm.until(lambda: farm.swarm.topics[discovery_key(bytes(32))].refreshes >= 3)

    run()


@scenario
async def test_a_complete_key_stops_looking() -> None:
    writer = Writer(compat=True)
    writer.append(b"one")
    theirs = published(writer)
    async with Farm() as farm:
        farm.engine.add([SeedSpec(writer.key, Kind.CORE)])
        farm.connect(theirs)
        topic = farm.swarm.topics[discovery_key(writer.key)]
        await farm.until(lambda: topic.modes == [(True, False)] and bool(farm.synced(writer.key)))
    await theirs.close()


@scenario
async def test_a_swarm_that_does_not_close_is_left_behind_in_time() -> None:
    farm = Farm()
    await farm.engine.start()
    farm.swarm.closing = asyncio.Event()
    started = asyncio.get_running_loop().time()
    await farm.engine.stop()
    assert asyncio.get_running_loop().time() - started < 5
    assert farm.store.closed


@scenario
async def test_ready_is_reported_first_and_when_the_network_has_answered() -> None:
    answered = asyncio.Event()
    async with Farm(online=answered.wait) as farm:
        farm.engine.add([SeedSpec(bytes(32))])
        await asyncio.sleep(0.2)
        assert farm.events == []
        farm.swarm.host = "203.0.113.7"
        answered.set()
        await farm.until(lambda: len(farm.events) >= 2)
        assert isinstance(farm.events[0], Ready) and farm.events[0].host == "203.0.113.7"
        assert isinstance(farm.events[1], Progress)


def test_ready_is_reported_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "READY_TIMEOUT", 0.05)

    @scenario
    async def run() -> None:
        async with Farm(online=asyncio.Event().wait) as farm:
            await farm.until(lambda: bool(farm.events))
            assert isinstance(farm.events[0], Ready)

    run()


@scenario
async def test_what_was_held_back_is_reported_when_it_stops_before_it_is_ready() -> None:
    farm = Farm(online=asyncio.Event().wait)
    await farm.engine.start()
    farm.engine.storage_failed(StoreFull("no room left"))
    await farm.engine.stop()
    assert [event.event for event in farm.events] == ["ready", "error"]


@scenario
async def test_stopping_twice_is_stopping_once() -> None:
    farm = Farm()
    await farm.engine.start()
    await farm.engine.stop()
    await farm.engine.stop()


@scenario
async def test_trouble_with_the_disk_is_reported_and_not_every_two_seconds() -> None:
    async with Farm() as farm:
        for _ in range(5):
            farm.engine.storage_failed(StoreFull("no room left"))
        problems = [event for event in farm.events if isinstance(event, Problem)]
        assert problems == []
        await farm.until(lambda: any(isinstance(event, Ready) for event in farm.events))
        problems = [event for event in farm.events if isinstance(event, Problem)]
        assert problems == [Problem(key=None, code="STORAGE_FULL", message="no room left")]


def test_trouble_that_lasts_is_reported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "REPEAT_ERROR", 0.0)

    @scenario
    async def run() -> None:
        async with Farm() as farm:
            for _ in range(3):
                farm.engine.storage_failed(StoreFull("no room left"))
            await farm.until(lambda: len(farm.events) == 4)
            assert sum(isinstance(event, Problem) for event in farm.events) == 3

    run()


def test_a_disk_that_cannot_be_read_is_reported_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "REPEAT_REVIEW", 0.05)

    @scenario
    async def run() -> None:
        async with Farm() as farm:
            farm.engine.add([SeedSpec(bytes(32))])
            warm = farm.engine._seeds.warm(bytes(32))
            assert warm is not None
            seed = warm.seed
            real, calls = seed.review, 0

            def review(now: float) -> float | None:
                nonlocal calls
                calls += 1
                if calls < 4:
                    raise StoreUnreadable("cannot read")
                return real(now)

            monkeypatch.setattr(seed, "review", review)
            await farm.until(lambda: any(isinstance(event, Progress) for event in farm.events))
            problems = [event for event in farm.events if isinstance(event, Problem)]
            assert problems == [Problem(key=bytes(32), code="STORAGE_UNREADABLE", message="cannot read")]

    run()


@pytest.mark.slow
@scenario
async def test_progress_of_one_key_keeps_its_distance() -> None:
    writer = Writer(compat=True)
    writer.append(*[bytes(100)] * 12_000)
    theirs = published(writer)
    # Longer than the delay between two reviews
    async with Farm(settings=replace(SETTINGS, report_interval=0.3)) as farm:
        farm.engine.add([SeedSpec(writer.key)])
        farm.connect(theirs)
        await farm.until(lambda: bool(farm.synced(writer.key)))
        emitted = zip(farm.times, farm.events, strict=True)
        at = [time for time, event in emitted if isinstance(event, Progress)]
        assert len(at) > 1
        assert all(later - earlier >= 0.299 for earlier, later in pairwise(at))
    await theirs.close()


@scenario
async def test_what_happens_while_a_key_is_added_is_not_missed() -> None:
    """A core may have something to report at the very moment it is opened."""
    async with Farm() as farm:
        real = farm.cores.get

        class Chatty:
            def __init__(self, key: bytes, *, active: bool) -> None:
                self._session = real(key, active=active)

            def __getattr__(self, name: str) -> object:
                return getattr(self._session, name)

            def subscribe(self, callback: Callable[[object], None]) -> Callable[[], None]:
                callback(None)
                return self._session.subscribe(callback)

        farm.cores.get = Chatty  # type: ignore[assignment, method-assign]
        farm.engine.add([SeedSpec(bytes(32))])
        await farm.until(lambda: any(isinstance(event, Progress) for event in farm.events))
