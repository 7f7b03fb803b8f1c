"""Keys with blocks that no peer has any more: what the engine says of them, puts away, and knows again."""

from __future__ import annotations

import asyncio

import pytest

from farmwire.gaps import MAX_RUNS, covers, from_text, to_text
from farmwire.gaps import Holding as Copy
from hypercore.aio.cores.corestore import Corestore
from hypercore.bitfield import Bitfield
from hypercore.core import memory_store
from hypercore.crypto import discovery_key
from workers.engine.model.events import Progress, Synced
from workers.engine.model.kind import Kind
from workers.engine.model.status import SeedStatus, State
from workers.engine.seeds.gaps import gaps_of
from workers.engine.settings.key_list import SeedSpec

from ..fakes import Writer, WriterOfDrive
from ..farms import ColdFarm, published, scenario


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, quick_stages: None) -> None:
    """Nothing takes long; the grace time is a third of a second."""
    monkeypatch.setattr("hypercore.replication.fullness.CHECK_INTERVAL", 0.05)
    monkeypatch.setattr("hypercore.replication.fullness.GRACE", 0.3)


def status(farm: ColdFarm) -> SeedStatus:
    (found,) = farm.engine.status().seeds
    return found


def drive_with_cleared_file() -> WriterOfDrive:
    """Three files; the blocks of the second, 2 of 6, are cleared."""
    drive = WriterOfDrive()
    drive.put("/a", b"a" * 1_000, b"b" * 500)
    drive.put("/old", b"c" * 700, b"d" * 300)
    drive.put("/z", b"e" * 1_000, b"f" * 100)
    drive.store.flush()
    drive.blobs.clear(2, 4)
    return drive


@scenario
async def test_a_drive_with_a_cleared_file_is_synced_put_away_and_known_after_a_restart() -> None:
    drive = drive_with_cleared_file()
    store = memory_store()
    total, size = drive.db.core.length + 6, drive.db.core.byte_length + 3_600
    async with ColdFarm(store) as farm:
        theirs = published(drive)
        farm.engine.add([SeedSpec(drive.key)])
        connection = farm.link(theirs)
        await farm.until(lambda: status(farm).have_blocks == total - 2)
        assert not farm.synced(drive.key)
        await farm.until(lambda: bool(farm.synced(drive.key)))
        (notified,) = farm.synced(drive.key)
        assert (notified.length, notified.bytes) == (total, size)
        assert (notified.unavailable_blocks, notified.unavailable_bytes) == (2, 1_000)
        assert (status(farm).state, status(farm).have_blocks) == (State.SYNCED, total - 2)
        connection.close()
        await farm.until_cold(drive.key)
        topic = farm.swarm.topics[discovery_key(drive.key)]
        assert (topic.server, topic.client) == (True, False), "announced, and not looking"
        cold = status(farm)
        assert (cold.have_blocks, cold.have_bytes) == (total - 2, size - 1_000)
        assert (cold.unavailable_blocks, cold.unavailable_bytes) == (2, 1_000)
        assert [gaps.runs for gaps in cold.gaps] == [[], [2, 4]]
        assert farm.engine.totals().have_bytes == size - 1_000

    async with ColdFarm(store) as again:
        again.engine.add([SeedSpec(drive.key)])
        await again.engine.all_synced()
        assert again.is_cold(drive.key), "nothing had to be asked"
        assert status(again) == cold.__class__(**{**_fields(cold), "bytes_in": 0})
        await again.until(lambda: bool(again.synced(drive.key)))
        progress = [event for event in again.events if isinstance(event, Progress)]
        assert [(p.have_blocks, p.unavailable_blocks) for p in progress] == [(total - 2, 2)]
        assert isinstance(again.events[-1], Synced) and again.events[-1].unavailable_blocks == 2

        reader = Corestore(memory_store())  # takes what is here
        copy = reader.get(drive.blobs.key)
        copy.download()
        again.link(reader)
        async with asyncio.timeout(10):
            await copy.wait_until(lambda: copy.core.bitfield.count == 4)
        await reader.close()


def _fields(found: SeedStatus) -> dict[str, object]:
    return {name: getattr(found, name) for name in SeedStatus.__struct_fields__}


@scenario
async def test_a_later_peer_that_has_the_blocks_is_asked_for_them() -> None:
    drive = drive_with_cleared_file()
    whole = memory_store()
    source = Corestore(drive.store)
    backup = Corestore(whole)
    async with ColdFarm() as farm:
        farm.engine.add([SeedSpec(drive.key)])
        connection = farm.link(source)
        await farm.until(lambda: bool(farm.synced(drive.key)))
        connection.close()
        await farm.until_cold(drive.key)
        # The writer has kept a copy elsewhere, and writes the same blocks back
        twin = WriterOfDrive()
        twin.db.key_pair, twin.db.core = drive.db.key_pair, drive.db.core
        blobs = whole.create_core(drive.db.key_pair, manifest=drive.blobs.manifest)
        blobs.append([b"a" * 1_000, b"b" * 500, b"c" * 700, b"d" * 300, b"e" * 1_000, b"f" * 100],
                     drive.db.key_pair)  # fmt: skip
        whole.flush()
        backup.get(drive.blobs.key)
        farm.link(backup)
        await farm.until(lambda: status(farm).have_blocks == status(farm).blocks)
        await farm.until(lambda: farm.synced(drive.key)[-1].unavailable_blocks == 0)
        await farm.until(lambda: status(farm).state is State.SYNCED)
    await backup.close()
    await source.close()


@scenario
async def test_a_log_whose_beginning_is_cleared_is_a_core_though_nothing_shows_it() -> None:
    writer = Writer()
    writer.append(*(b"line %d" % number for number in range(50)))
    writer.store.flush()
    writer.core.clear(0, 10)
    async with ColdFarm() as farm:
        farm.engine.add([SeedSpec(writer.key)])
        connection = farm.link(published(writer))
        await farm.until(lambda: bool(farm.synced(writer.key)))
        (notified,) = farm.synced(writer.key)
        assert (notified.kind, notified.length, notified.unavailable_blocks) == (Kind.CORE, 50, 10)
        connection.close()
        await farm.until_cold(writer.key)


@scenario
async def test_new_versions_are_synced_at_once_and_a_crash_before_the_note_of_them_costs_nothing() -> None:
    writer = Writer()
    writer.append(*(b"line %d" % number for number in range(50)))
    writer.store.flush()
    writer.core.clear(5, 7)
    store = memory_store()
    async with ColdFarm(store) as farm:
        farm.engine.add([SeedSpec(writer.key, Kind.CORE)])
        theirs = published(writer)
        farm.link(theirs)
        await farm.until(lambda: bool(farm.synced(writer.key)))
        recorded = farm.store.open_core(writer.key, create=False)
        assert recorded is not None
        meta = recorded.meta
        asked = asyncio.get_running_loop().time()
        writer.append(b"new")
        await theirs.flush()
        await farm.until(lambda: farm.synced(writer.key)[-1].length == 51)
        assert asyncio.get_running_loop().time() < asked + 0.29, "without another grace time"
        assert farm.synced(writer.key)[-1].unavailable_blocks == 2
        await farm.until(lambda: recorded.durable_head is recorded.head)
        recorded.meta = meta
    async with ColdFarm(store) as again:
        again.engine.add([SeedSpec(writer.key, Kind.CORE)])
        await again.until(lambda: bool(again.synced(writer.key)))
        assert again.synced(writer.key)[-1].unavailable_blocks == 2, "its writer is not there to say so"


@scenario
async def test_what_was_given_up_can_be_looked_for_again_from_outside() -> None:
    writer = Writer()
    writer.append(*(b"line %d" % number for number in range(50)))
    writer.store.flush()
    writer.core.clear(5, 7)
    async with ColdFarm() as farm:
        farm.engine.add([SeedSpec(writer.key, Kind.CORE)])
        connection = farm.link(published(writer))
        await farm.until(lambda: bool(farm.synced(writer.key)))
        connection.close()
        await farm.until_cold(writer.key)
        farm.engine.reopen(writer.key)
        await farm.until(lambda: status(farm).state is State.WAITING)
        topic = farm.swarm.topics[discovery_key(writer.key)]
        assert topic.client, "it looks for whoever has them"
        assert status(farm).gaps[0].runs == [5, 7]


# --- gaps


def field(length: int, *missing: int) -> Bitfield:
    have = Bitfield()
    have.set_range(0, length)
    for index in missing:
        have.unset(index)
    return have


def test_gaps_are_exact_as_long_as_they_are_few() -> None:
    assert gaps_of(field(10), 10).runs == []
    gaps = gaps_of(field(10, 0, 1, 5, 9), 10)
    assert (gaps.runs, gaps.exact, gaps.length) == ([0, 2, 5, 6, 9, 10], True, 10)
    assert from_text(to_text([gaps])) == (gaps,)
    assert to_text([]) == "" and from_text("") == ()


def test_more_gaps_become_parts_of_the_core_and_a_digest() -> None:
    missing = range(1, 4 * MAX_RUNS, 2)
    length = 100_000
    gaps = gaps_of(field(length, *missing), length)
    assert not gaps.exact and gaps.digest
    assert gaps.runs == [0, 1562], "all of them are in the first part of 64"
    assert gaps == gaps_of(field(length, *missing), length)
    assert gaps.digest != gaps_of(field(length, *missing[1:], 3), length).digest

    same = [Copy(0, length, length, length - len(missing), (gaps,)) for _ in range(2)]
    assert covers(*same)
    other = gaps_of(field(length, *missing[:-1], 2), length)
    assert not covers(same[0], Copy(0, length, length, length - len(missing), (other,)))
    assert covers(Copy(0, length, length, length), same[0])


@pytest.mark.parametrize("text", ["[1]", "nonsense", '[{"length":-1}]', '[{"runs":[1,2]}]'])
def test_what_is_no_text_of_gaps_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        from_text(text)
