"""Keys that are put away when no peer asks for them: their cost, what wakes them, what a restart knows."""

from __future__ import annotations

import asyncio
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from hypercore.aio.cores.corestore import Corestore
from hypercore.core import memory_store
from hypercore.crypto import KeyPair, discovery_key
from hypercore.drive import writable_drive
from workers.engine.model.events import CoreChanged, PeerChanged, Problem, Progress, Synced
from workers.engine.model.kind import Finding, Kind, Role
from workers.engine.model.status import State
from workers.engine.seeds import seed
from workers.engine.seeds.cold import Cold, ColdCore, Partial, SeedRecord, load_cold
from workers.engine.seeds.detect import detect_kind
from workers.engine.seeds.tracked_core import TrackedCore
from workers.engine.settings.key_list import SeedSpec
from workers.engine.settings.settings import LimitSettings

from ..fakes import Sessions, Writer, WriterOfDrive
from ..farms import ColdFarm, published, put_away, scenario

pytestmark = pytest.mark.usefixtures("quick_stages")


def drive_of(files: int) -> WriterOfDrive:
    drive = WriterOfDrive()
    for number in range(files):
        drive.put(f"/file {number}", b"x" * 1_000, b"y" * number)
    return drive


@scenario
async def test_a_complete_drive_without_requests_is_put_away_and_stays_announced() -> None:
    drive = drive_of(3)
    async with ColdFarm() as farm:
        await put_away(farm, drive)
        topic = farm.swarm.topics[discovery_key(drive.key)]
        assert (topic.server, topic.client, topic.opportunistic_lookup, topic.left) == (
            True,
            False,
            True,
            False,
        )
        assert farm.store.open_cores == 0
        (status,) = farm.engine.status().seeds
        assert status.state is State.SYNCED and status.length == drive.db.core.length
        assert status.bytes == status.have_bytes == drive.db.core.byte_length + drive.blobs.byte_length
        totals = farm.engine.totals()
        assert (totals.keys, totals.synced) == (1, 1)
        assert totals.bytes_in == status.bytes == totals.have_bytes
        await farm.engine.all_synced()


@scenario
async def test_a_drive_of_ours_stays_open_and_looks_for_peers_of_what_is_new() -> None:
    other, reader = drive_of(1), Corestore(memory_store())
    async with ColdFarm() as farm:
        drive = writable_drive(farm.store, KeyPair.from_seed(bytes(32)))
        await farm.cores.flush()
        farm.engine.add([SeedSpec(drive.key, Kind.DRIVE, own=True), SeedSpec(other.key)])
        await farm.until(lambda: bool(farm.synced(drive.key)))
        topic = farm.swarm.topics[discovery_key(drive.key)]
        assert topic.client
        reader.get(drive.key).download()
        connection = farm.link(reader)
        await farm.until(lambda: not topic.client)
        connection.close()
        publisher = farm.link(published(other))
        await farm.until(lambda: bool(farm.synced(other.key)))
        publisher.close()
        await farm.until(lambda: farm.is_cold(other.key))
        assert not farm.is_cold(drive.key) and not topic.client, "its peer has everything"
        with drive.writer.batch() as batch:
            batch.put("/news", [b"news"])
        await farm.cores.flush()
        await farm.until(lambda: topic.client)
        farm.link(reader)
        await farm.until(lambda: not topic.client)
        await reader.close()


@scenario
async def test_a_drive_of_ours_is_not_put_away_by_a_restart_and_looks_for_peers() -> None:
    async with ColdFarm() as farm:
        drive = writable_drive(farm.store, KeyPair.from_seed(bytes(32)))
        farm.engine.add([SeedSpec(drive.key)])  # as an earlier version did, which put it away
        await farm.until(lambda: farm.is_cold(drive.key))
        await farm.engine.remove(drive.key)
        farm.engine.add([SeedSpec(drive.key, Kind.DRIVE, own=True)])
        assert not farm.is_cold(drive.key)
        assert farm.swarm.topics[discovery_key(drive.key)].client


@scenario
async def test_a_reader_wakes_a_drive_that_is_put_away_and_lets_it_go_again() -> None:
    drive = drive_of(3)
    async with ColdFarm() as farm:
        await put_away(farm, drive)
        notified = len(farm.events)
        reader = Corestore(memory_store())
        copies = [reader.get(key) for key in (drive.key, drive.blobs.key)]
        for copy in copies:
            copy.download()
        connection = farm.link(reader)
        async with asyncio.timeout(10):
            for copy in copies:
                await copy.synced()
        await farm.until(lambda: farm.engine.status().seeds[0].peers == 1)
        connection.close()
        await farm.until_cold(drive.key)
        (status,) = farm.engine.status().seeds
        assert status.bytes_out == status.bytes, "what was sent in between is counted"
        news = farm.events[notified:]
        assert [(e.state, e.bytes_out) for e in news if isinstance(e, PeerChanged)] == [
            ("open", 0),
            ("close", status.bytes),
        ]
        assert not [e for e in news if isinstance(e, CoreChanged | Synced)], "nothing of it is news"
        await reader.close()


@scenario
async def test_a_seed_that_is_woken_neither_detects_its_kind_nor_says_its_doubts_again() -> None:
    writer = Writer()
    writer.append(bytes([2, 0, 0, 0, 2, 33, 2]) + bytes(32), b"second")
    found: list[bytes] = []

    def counted(part: TrackedCore, **facts: Any) -> Finding:
        found.append(part.core.key)
        return detect_kind(part, **facts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seed, "detect_kind", counted)
        async with ColdFarm() as farm:
            await put_away(farm, writer)
            assert [e.code for e in farm.events if isinstance(e, Problem)] == ["ONE_WRITER"]
            notified, before = len(farm.events), len(found)
            for _ in range(2):
                farm.engine.wake(writer.key)
                assert not farm.is_cold(writer.key)
                await farm.until_cold(writer.key)
            assert farm.events[notified:] == [] and len(found) == before
            assert farm.engine.status().seeds[0].kind is Kind.CORE


@scenario
async def test_a_key_that_became_too_large_says_so_once_however_often_it_is_woken() -> None:
    drive = drive_of(3)
    async with ColdFarm() as farm:
        await put_away(farm, drive)
        farm.engine.set_limits(LimitSettings(max_blocks=2))
        for _ in range(3):
            farm.engine.wake(drive.key)
            await farm.until_cold(drive.key)
        assert [e.code for e in farm.events if isinstance(e, Problem)] == ["TOO_MANY_BLOCKS"]


@scenario
async def test_a_reader_of_the_blobs_alone_wakes_the_drive() -> None:
    drive = drive_of(2)
    async with ColdFarm() as farm:
        await put_away(farm, drive)
        reader = Corestore(memory_store())
        copy = reader.get(drive.blobs.key)
        copy.download()
        farm.link(reader)
        async with asyncio.timeout(10):
            await copy.synced()
        await farm.until(lambda: not farm.is_cold(drive.key))
        await reader.close()


@scenario
async def test_what_a_writer_appends_while_a_drive_is_put_away_is_fetched() -> None:
    drive = drive_of(2)
    async with ColdFarm() as farm:
        theirs = await put_away(farm, drive)
        drive.put("/later", b"z" * 5_000)
        await theirs.flush()
        for key in (drive.key, drive.blobs.key):
            theirs.get(key)  # its writer has it open
        farm.link(theirs)
        version = drive.db.core.length
        await farm.until(lambda: farm.synced(drive.key)[-1].version == version)
        # The writer stays connected: what it appends while we rest comes, too
        await farm.until(lambda: _resting(farm, drive.key))
        drive.put("/later still", b"w" * 5_000)
        await farm.until(lambda: farm.synced(drive.key)[-1].version == version + 1)
        assert farm.synced(drive.key)[-1].length == drive.db.core.length + drive.blobs.length
        await theirs.close()


def _resting(farm: ColdFarm, key: bytes) -> bool:
    warm = farm.engine._seeds.warm(key)
    return warm is not None and not warm.seed._active


@scenario
async def test_two_farms_that_have_all_let_go_of_each_other() -> None:
    drive = drive_of(2)
    async with ColdFarm() as one, ColdFarm() as two:
        await put_away(one, drive)
        two.engine.add([SeedSpec(drive.key)])
        one.link(two.cores)
        await two.until(lambda: bool(two.synced(drive.key)))
        for farm in (one, two):
            await farm.until_cold(drive.key)
            assert farm.cores.links == 1, "the connection stays"


@scenario
async def test_a_restart_reports_what_it_has_without_opening_it_and_serves_it() -> None:
    drive = drive_of(3)
    first = ColdFarm()
    await first.engine.start()
    await put_away(first, drive)
    first.store.flush()
    for key in first.engine.keys:
        await first.engine.remove(key)

    async with ColdFarm(first.store) as second:
        second.engine.add([SeedSpec(drive.key)])
        assert second.is_cold(drive.key)
        assert second.cores.open_cores == 0
        topic = second.swarm.topics[discovery_key(drive.key)]
        assert (topic.server, topic.client) == (True, False)
        await second.until(lambda: bool(second.synced(drive.key)))
        before = [e for e in first.events if isinstance(e, CoreChanged | Synced)]
        notified = [e for e in second.events if isinstance(e, CoreChanged | Synced)]
        assert isinstance(before[-1], Synced) and before[-1].news
        assert notified[-1] == replace(before[-1], news=False)
        assert {(e.core, e.length) for e in notified if isinstance(e, CoreChanged)} == {
            (drive.key, drive.db.core.length),
            (drive.blobs.key, drive.blobs.length),
        }
        assert [e.have_bytes for e in second.events if isinstance(e, Progress)] == [before[-1].bytes]  # type: ignore[union-attr]
        reader = Corestore(memory_store())
        copy = reader.get(drive.key)
        copy.download()
        second.link(reader)
        async with asyncio.timeout(10):
            await copy.synced()
        await reader.close()


@scenario
async def test_an_encrypted_drive_is_known_again_after_a_restart() -> None:
    drive = WriterOfDrive(encrypted=True)
    drive.put("/secret", b"x" * 1_000)
    first = ColdFarm()
    await first.engine.start()
    await put_away(first, drive)
    await first.engine.remove(drive.key)
    async with ColdFarm(first.store) as second:
        second.engine.add([SeedSpec(drive.key)])
        assert second.is_cold(drive.key)
        second.engine.wake(drive.key)
        await second.until_cold(drive.key)
        assert second.engine.status().seeds[0].kind is Kind.DRIVE


@scenario
async def test_a_block_lost_while_a_key_was_put_away_is_noticed_at_the_restart() -> None:
    drive = drive_of(2)
    first = ColdFarm()
    await first.engine.start()
    await put_away(first, drive)
    await first.engine.remove(drive.key)
    core = first.store.open_core(drive.blobs.key)
    assert core is not None
    core.clear(1, 2)
    first.store.flush()
    first.store.close_core(core)
    async with ColdFarm(first.store) as second:
        second.engine.add([SeedSpec(drive.key)])
        assert not second.is_cold(drive.key)
        assert second.swarm.topics[discovery_key(drive.key)].client, "it is behind, and looks"


@scenario
async def test_damage_found_while_a_key_is_woken_is_reported_and_repaired() -> None:
    drive = drive_of(2)
    async with ColdFarm() as farm:
        theirs = await put_away(farm, drive)
        farm.engine.wake(drive.key)
        core = farm.store.open_core(drive.blobs.key)
        assert core is not None
        core._drop_corrupt([(0, 1)])
        await farm.until(lambda: any(isinstance(e, Problem) for e in farm.events))
        assert not farm.is_cold(drive.key)
        farm.link(theirs)
        await farm.until(lambda: len(farm.synced(drive.key)) == 2)
        await theirs.close()


@scenario
async def test_a_core_of_two_keys_emits_events_for_both() -> None:
    drive = drive_of(2)
    async with ColdFarm() as farm:
        theirs = await put_away(farm, drive)
        farm.engine.add([SeedSpec(drive.blobs.key, Kind.CORE)])
        await farm.until_cold(drive.blobs.key)
        drive.put("/later", b"z" * 500)
        await theirs.flush()
        for key in (drive.key, drive.blobs.key):
            theirs.get(key)
        farm.link(theirs)
        length = drive.blobs.length
        await farm.until(lambda: farm.synced(drive.blobs.key)[-1].version == length)
        await farm.until(lambda: farm.synced(drive.key)[-1].version == drive.db.core.length)
        await theirs.close()


@scenario
async def test_thousands_of_keys_are_added_in_turns_and_each_is_reported() -> None:
    store = memory_store()
    wanted = []
    for _ in range(300):
        writer = Writer(compat=True, store=store)
        writer.append(b"x")
        writer.core.meta = Cold(
            SeedSpec(writer.key), Kind.CORE, (ColdCore(writer.key, Role.CORE, 0, 1, 1, 1, 1),), True
        ).memo.encode()
        store.close_core(writer.core)
        wanted.append(SeedSpec(writer.key))
    store.flush()
    async with ColdFarm(store) as farm:
        farm.engine.add(wanted)
        assert farm.engine.keys == [item.key for item in wanted]
        removed = wanted.pop()
        assert await farm.engine.remove(removed.key), "it has not even been looked at"
        async with asyncio.timeout(10):
            await farm.engine.all_synced()
        assert sorted(farm.engine.keys) == sorted(item.key for item in wanted)
        assert farm.cores.open_cores == 0
        assert farm.engine.totals().have_bytes == len(wanted)
        assert len(farm.engine.status(cold=5).seeds) == 5
        assert farm.engine.status(cold=5).keys == len(wanted)
        assert len(farm.engine.changes()) == len(wanted)
        assert farm.engine.changes() == (), "and nothing has happened since"


@scenario
async def test_a_key_that_is_put_away_costs_little_memory() -> None:
    keys, seeds = 400, []
    for number in range(keys):
        name = number.to_bytes(32, "big")
        cores = (
            _whole(name, Role.DB, 3 + number, 1_000 + number),
            _whole(bytes(reversed(name)), Role.BLOBS, 300 + number, 100_000 + number),
        )
        found = Finding(Kind.DRIVE, blobs=cores[1].key)
        seeds.append(Cold(SeedSpec(name, Kind.DRIVE), Kind.DRIVE, cores, True, finding=found))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        copies = [
            seed._replace(
                cores=tuple(ColdCore(*core) for core in seed.cores), finding=Finding(*(seed.finding or ()))
            )
            for seed in seeds
        ]
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used / len(copies) < 1_000


def _whole(key: bytes, role: Role, length: int, size: int) -> ColdCore:
    return ColdCore(key, role, 0, length, size, length, size)


# --- what is noted


@pytest.mark.parametrize(
    "memo",
    [
        SeedRecord(Kind.CORE),
        SeedRecord(Kind.DRIVE, 2, 70, bytes(range(32)), 12, False),
        SeedRecord(Kind.BEE, 0, 1),
        SeedRecord(Kind.CORE, 0, 9, partial=Partial(7, 900, 0, 0, 0, '[{"length":9,"runs":[2,4]}]')),
    ],
)
def test_a_memo_is_read_as_it_was_written(memo: SeedRecord) -> None:
    assert SeedRecord.decode(memo.encode()) == memo


@pytest.mark.parametrize(
    "meta", [None, b"", b"\xff", b"[]", b'["drive",0]', b'["thing",0,1,null,0,true]', b"7"]
)
def test_a_memo_that_makes_no_sense_is_none(meta: bytes | None) -> None:
    assert SeedRecord.decode(meta) is None


def test_a_memo_of_another_length_or_kind_is_not_believed() -> None:
    sessions, writer = Sessions(), Writer(compat=True)
    core = sessions.open(writer.key).core
    store = sessions.store
    assert load_cold(SeedSpec(writer.key), store.info) is None, "nothing is here"
    own = Writer(compat=True, store=store)
    own.append(b"one", b"two")
    own.core.meta = SeedRecord(Kind.CORE, 0, 2).encode()
    assert load_cold(SeedSpec(own.key), store.info) is not None
    assert load_cold(SeedSpec(own.key, Kind.CORE), store.info) is not None
    assert load_cold(SeedSpec(own.key, Kind.BEE), store.info) is None
    own.core.meta = SeedRecord(Kind.CORE, 0, 1).encode()
    assert load_cold(SeedSpec(own.key), store.info) is None
    own.core.meta = SeedRecord(Kind.CORE).encode()
    assert load_cold(SeedSpec(own.key), store.info) is None
    own.core.meta = SeedRecord(Kind.DRIVE, 0, 2, core.key, 1).encode()
    assert load_cold(SeedSpec(own.key), store.info) is None, "its second core is not here"


@scenario
async def test_a_conflict_is_reported_at_each_start_and_ends_with_the_core() -> None:
    writer = Writer()
    writer.append(b"one", b"two")
    first = ColdFarm()
    await first.engine.start()
    await put_away(first, writer)
    first.cores._on_conflict(first.cores.get(writer.key).core)
    first.store.flush()
    await first.engine.remove(writer.key)
    async with ColdFarm(first.store) as second:
        store = second.store
        second.engine.add([SeedSpec(writer.key)])
        await second.until(lambda: any(isinstance(event, Problem) for event in second.events))
        assert [event.code for event in second.events if isinstance(event, Problem)] == ["CONFLICT"]
        assert second.engine.status().seeds[0].state is State.FAILED
        assert not second.is_cold(writer.key)
        await second.engine.remove(writer.key)
        second.cores.remove(writer.key)
        assert not second.cores.has_conflict(writer.key) and store.meta_names("conflict/") == []


@scenario
async def test_what_belongs_to_a_cold_key_is_claimed_without_opening_it() -> None:
    drive = drive_of(3)
    first = ColdFarm()
    await first.engine.start()
    await put_away(first, drive)
    first.store.flush()
    await first.engine.remove(drive.key)
    claimed: list[tuple[bytes, bytes]] = []

    def claim(key: bytes, core: bytes) -> bool:
        claimed.append((key, core))
        return True

    async with ColdFarm(first.store, claim) as second:
        second.engine.add([SeedSpec(drive.key)])
        assert second.is_cold(drive.key)
        assert claimed == [(drive.key, drive.key), (drive.key, drive.blobs.key)]
