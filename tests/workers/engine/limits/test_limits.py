"""Limits carried out and reported, with real cores over connections in memory and a pretended disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hypercore.aio.cores.corestore import Corestore
from hypercore.core import memory_store
from hypercore.replication.ratelimit import BLOCK_OVERHEAD
from workers.engine.engine import Engine
from workers.engine.limits import disk_budget
from workers.engine.limits import limits as limits_module
from workers.engine.limits.disk_budget import NEAR_BYTES
from workers.engine.limits.limits import SLACK_BYTES, Limits
from workers.engine.model.event_buffer import EventBuffer
from workers.engine.model.events import Event, LimitChanged, Problem
from workers.engine.model.status import State
from workers.engine.seeds.table import SeedTable
from workers.engine.settings.key_list import SeedSpec
from workers.engine.settings.settings import EngineSettings, LimitSettings, cap, divide
from workers.settings.rate_schedule import parse_rate_schedule

from ..fakes import Writer
from ..links import FakeSwarm, connected

SETTINGS = EngineSettings(data=Path("unused"), bootstrap=(), report_interval=0.05, leave_timeout=0.2)
CONTENT = 1_000
BLOCK = CONTENT + BLOCK_OVERHEAD
"""What a block of so much content counts."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "POLL_INTERVAL", 0.02)
    monkeypatch.setattr(limits_module, "CLEAR_AFTER", 0.1)
    monkeypatch.setattr(disk_budget, "MEASURE_WHEN_FULL", 0.1)


class FakeSlots:
    """So many have come in."""

    def __init__(self) -> None:
        self.limit = self.rejected = self.inside = 0

    def __len__(self) -> int:
        return self.inside


class Farm:
    """An engine of ours with limits."""

    def __init__(self, settings: LimitSettings) -> None:
        self.events: list[Event] = []
        self.free = 1 << 40
        self.time = datetime(2026, 1, 5, 12, tzinfo=UTC)
        self.slots = FakeSlots()
        self.files = 0
        self.swarm = FakeSwarm()
        self.cores = Corestore(memory_store())
        events = EventBuffer(self.events.append)
        self.limits = Limits(
            settings,
            cores=self.cores,
            data=Path("unused"),
            emit=events.emit,
            slots=self.slots,
            open_files=lambda: (self.files, 10),
            local_time=lambda: self.time,
            disk_usage=lambda _: (1 << 40, 0, self.free),
        )
        self.engine = Engine(
            SETTINGS,
            swarm=self.swarm,
            cores=self.cores,
            seeds=SeedTable(),
            limits=self.limits,
            events=events,
        )

    async def __aenter__(self) -> Farm:
        await self.engine.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.stop()

    def seed(self, writer: Writer) -> Corestore:
        """Seeds what a writer at the other end of a connection has. Returns the writer's corestore."""
        other = Corestore(writer.store)
        self.peer(other)
        self.engine.add([SeedSpec(writer.key)])
        return other

    def peer(self, other: Corestore) -> None:
        ours, theirs = connected()
        self.swarm.connections.append(ours)
        self.cores.replicate(ours)
        other.replicate(theirs)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)

    def notified(self, limit: str) -> list[tuple[str, int, int]]:
        found = [event for event in self.events if isinstance(event, LimitChanged) and event.limit == limit]
        return [(event.state, event.value, event.max) for event in found]

    @property
    def have(self) -> int:
        return self.engine.status().seeds[0].have_blocks

    @property
    def state(self) -> State:
        return self.engine.status().seeds[0].state


def writer_of(blocks: int) -> Writer:
    writer = Writer()
    writer.append(*(bytes([index % 256]) * CONTENT for index in range(blocks)))
    return writer


def test_downloads_end_before_the_quota_and_go_on_with_a_larger_one() -> None:
    async def scenario() -> None:
        async with Farm(LimitSettings(max_bytes=10 * BLOCK + 500)) as farm:
            writer = writer_of(30)
            other = farm.seed(writer)
            await farm.until(lambda: farm.state is State.HELD)
            assert farm.have == 10
            assert farm.notified("disk") == [("reached", 10 * BLOCK, 10 * BLOCK + 500)]
            problems = [event for event in farm.events if isinstance(event, Problem)]
            assert [(problem.key, problem.code) for problem in problems] == [(None, "NO_ROOM")]
            assert problems[0].message.startswith(
                "11.6 kB are stored, 12.1 kB may be: nothing more is downloaded"
            )
            assert farm.limits.disk_problem.startswith("NO_ROOM: ")
            [disk] = farm.engine.status().limits
            assert (disk.limit, disk.value, disk.max, disk.reached) == ("disk", 11_600, 12_100, True)

            reader = Corestore(memory_store())  # what is here is served
            farm.peer(reader)
            async with asyncio.timeout(10):
                async with reader.get(writer.key) as session:
                    assert await session.get(3) == bytes([3]) * CONTENT

            farm.engine.set_limits(replace(farm.limits.settings, max_bytes=20 * BLOCK))
            await farm.until(lambda: farm.have == 20 and farm.state is State.HELD)
            farm.engine.set_limits(replace(farm.limits.settings, max_bytes=None))
            await farm.until(lambda: farm.state is State.SYNCED)
            assert [state for state, _, _ in farm.notified("disk")] == ["reached", "cleared"] * 2
            assert farm.limits.disk_problem == ""
            await other.close()
            await reader.close()

    asyncio.run(scenario())


def test_what_was_stored_before_and_is_seeded_no_longer_counts() -> None:
    async def scenario() -> None:
        async with Farm(LimitSettings(max_bytes=25 * BLOCK)) as farm:
            first, second = writer_of(20), writer_of(20)
            others = [farm.seed(first)]
            await farm.until(lambda: farm.state is State.SYNCED)
            await farm.engine.remove(first.key)
            farm.limits.stored_changed()
            others.append(farm.seed(second))
            await farm.until(lambda: farm.state is State.HELD)
            assert farm.have == 5
            farm.cores.remove(first.key)
            farm.limits.stored_changed()
            await farm.until(lambda: farm.state is State.SYNCED)
            for other in others:
                await other.close()

    asyncio.run(scenario())


def test_the_headroom_of_the_disk_is_kept_and_room_that_returns_is_used() -> None:
    async def scenario() -> None:
        kept = 5_000_000
        async with Farm(LimitSettings(keep_free=kept)) as farm:
            farm.free = kept - 1
            farm.limits.poll()
            other = farm.seed(writer_of(30))
            await farm.until(lambda: farm.state is State.HELD)
            assert farm.have == 0
            assert "the disk has 5.0 MB free, and 5.0 MB stay free" in farm.limits.disk_problem
            [reached] = [event for event in farm.events if isinstance(event, LimitChanged)]
            assert reached.text == "the disk has 5.0 MB free, and 5.0 MB stay free"
            assert [limit.text for limit in farm.engine.status().limits] == [reached.text]
            farm.free = kept + SLACK_BYTES // 2  # it flutters: no reason to begin
            await asyncio.sleep(0.1)
            assert farm.have == 0
            farm.free = kept + 2 * SLACK_BYTES
            await farm.until(lambda: farm.state is State.SYNCED)
            assert [state for state, _, _ in farm.notified("disk")] == ["reached", "cleared"]
            await other.close()

    asyncio.run(scenario())


def test_far_from_any_bound_nothing_is_counted() -> None:
    async def scenario() -> None:
        async with Farm(LimitSettings(max_bytes=2 * NEAR_BYTES)) as farm:
            limit = farm.cores.download.limit
            assert (limit.active, farm.cores.upload.limit.active) == (False, False)
            farm.free = NEAR_BYTES
            farm.limits.poll()
            assert limit.active

    asyncio.run(scenario())


def test_with_nothing_kept_free_the_text_names_the_free_space_alone() -> None:
    async def scenario() -> None:
        async with Farm(LimitSettings(keep_free=0)) as farm:
            farm.free = 0
            farm.limits.poll()
            assert farm.limits.disk_problem.startswith("NO_ROOM: the disk has 0 B free: nothing more")

    asyncio.run(scenario())


def test_rates_follow_the_timetable_and_the_clock_of_the_wall() -> None:
    async def scenario() -> None:
        table = parse_rate_schedule("08:00-18:00=1M, *=none")
        async with Farm(LimitSettings(up=table, down=parse_rate_schedule("3M"))) as farm:
            assert farm.cores.upload.limit.rate == 1_000_000
            assert farm.cores.download.limit.rate == 3_000_000
            farm.time = datetime(2026, 1, 5, 18, tzinfo=UTC)
            farm.limits.poll()
            assert farm.cores.upload.limit.rate is None
            assert [limit.limit for limit in farm.engine.status().limits] == ["down"]
            farm.time = datetime(2020, 1, 5, 9, tzinfo=UTC)  # somebody has set the clock
            farm.limits.poll()
            assert farm.cores.upload.limit.rate == 1_000_000

    asyncio.run(scenario())


def test_a_rate_that_holds_back_emits_reached_and_later_cleared() -> None:
    async def scenario() -> None:
        async with Farm(LimitSettings(down=parse_rate_schedule("200k"))) as farm:
            other = farm.seed(writer_of(150))
            await farm.until(lambda: farm.state is State.SYNCED)
            await farm.until(lambda: farm.notified("down")[-1][0] == "cleared")
            notified = farm.notified("down")
            assert [state for state, _, _ in notified] == ["reached", "cleared"] * (len(notified) // 2)
            assert notified[0][2] == 200_000
            assert farm.cores.download.limit.moved == 150 * BLOCK
            assert farm.notified("up") == []
            await other.close()

    asyncio.run(scenario())


def test_connections_and_open_files_at_their_bounds_emit_events_and_are_shown() -> None:
    async def scenario() -> None:
        async with Farm(LimitSettings(max_peers=5)) as farm:
            assert farm.slots.limit == 5
            assert farm.engine.status().limits == ()
            farm.slots.inside, farm.files = 5, 10
            await farm.until(lambda: bool(farm.notified("peers") and farm.notified("files")))
            assert farm.notified("peers") == [("reached", 5, 5)]
            assert farm.notified("files") == [("reached", 10, 10)]
            shown = {limit.limit: (limit.value, limit.max) for limit in farm.engine.status().limits}
            assert shown == {"peers": (5, 5), "files": (10, 10)}
            farm.slots.inside, farm.files = 4, 9
            await farm.until(lambda: len(farm.notified("peers")) == len(farm.notified("files")) == 2)
            assert farm.notified("peers")[1] == ("cleared", 4, 5)
            farm.slots.rejected = 1  # one address had too many, though there was room
            farm.limits.poll()
            assert farm.notified("peers")[2] == ("reached", 4, 5)
            farm.engine.set_limits(replace(farm.limits.settings, max_peers=7))
            assert farm.slots.limit == 7

    asyncio.run(scenario())


def test_the_lower_of_two_limits_counts_and_engines_share_it() -> None:
    ours = LimitSettings(up=parse_rate_schedule("08:00-18:00=1M, *=none"), max_bytes=100)
    both = cap(ours, up=4_000_000, down=2_000_000, max_bytes=500)
    assert str(both.up) == "08:00-18:00=1000000, *=4000000"
    assert (str(both.down), both.max_bytes) == ("2000000", 100)
    half = divide(both, 2)
    assert str(half.up) == "08:00-18:00=500000, *=2000000"
    assert (str(half.down), half.max_bytes, half.max_peers) == ("1000000", 50, ours.max_peers // 2)
    assert cap(ours, up=None, down=None, max_bytes=None) == ours
    assert divide(ours, 1) == ours
