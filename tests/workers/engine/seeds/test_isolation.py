"""What goes wrong with one key concerns no other, and takes no long turn of the loop."""

from __future__ import annotations

import asyncio
import logging

import pytest

from hypercore.bee.messages import TreeNode, encode_block
from hypercore.core import Core, memory_store
from hypercore.crypto import discovery_key
from hypercore.drive.entries import BlobId, Entry, encode_entry
from hypercore.errors import StoreUnreadable
from workers.engine.model.events import Event, Problem
from workers.engine.seeds import backlog, problems
from workers.engine.seeds.backlog import Backlog
from workers.engine.seeds.blobs_length import MAX_ENTRY_BYTES, SCAN_BLOCKS, TURN_BYTES, RequiredBlobs
from workers.engine.seeds.problems import Problems
from workers.engine.seeds.seed import Seed
from workers.engine.settings.key_list import SeedSpec

from ..fakes import WriterOfDrive, copy, upgrade
from ..farms import Farm
from .bench import Bench


def key_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_a_key_that_cannot_be_added_is_tried_again_and_holds_none_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backlog, "RETRY_DELAY", 0.05)

    async def scene() -> None:
        added: list[bytes] = []
        failures: list[bytes] = []
        broken = {key_of(3), key_of(100)}

        def add(wanted: SeedSpec) -> None:
            if wanted.key in broken:
                raise OSError("the disk")
            added.append(wanted.key)

        waiting = Backlog(
            add=add,
            wake=lambda key: None,
            on_failure=lambda key, error: failures.append(key),
            on_progress=lambda: None,
        )
        waiting.put(SeedSpec(key_of(number)) for number in range(200))
        await asyncio.sleep(0.02)
        assert len(added) == 198 and sorted(waiting.waiting) == sorted(broken)
        waiting.put([SeedSpec(key_of(3))])  # listed again meanwhile
        assert waiting.remove(key_of(100)) and not waiting.remove(key_of(100))
        broken.clear()
        async with asyncio.timeout(5):
            while waiting.waiting:
                await asyncio.sleep(0.01)
        assert added.count(key_of(3)) == 1 and key_of(100) not in added
        assert sorted(failures) == sorted([key_of(3), key_of(100)])
        waiting.close()

    asyncio.run(scene())


def test_a_key_whose_core_cannot_be_opened_is_reported_and_the_others_are_seeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backlog, "RETRY_DELAY", 0.05)

    async def scene() -> None:
        async with Farm() as farm:
            real, broken = farm.cores.get, True

            def get(key: bytes, *, active: bool = True):  # type: ignore[no-untyped-def]
                if broken and key == key_of(1):
                    raise StoreUnreadable("the database is damaged")
                return real(key, active=active)

            farm.engine._cores.get = get  # type: ignore[method-assign]
            farm.engine.add(SeedSpec(key_of(number)) for number in range(150))
            await farm.until(lambda: len(farm.swarm.topics) == 149)
            await farm.until(lambda: any(isinstance(event, Problem) for event in farm.events))
            assert [event.key for event in farm.events if isinstance(event, Problem)] == [key_of(1)]
            await farm.engine.loaded()  # one key that fails holds up no deletion
            broken = False
            await farm.until(lambda: discovery_key(key_of(1)) in farm.swarm.topics)

    asyncio.run(scene())


def test_a_fault_of_ours_in_one_key_stops_neither_statuses_nor_reviews_of_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("review", "status"):
        real = getattr(Seed, name)

        def broken(seed: Seed, now: float, real=real):  # type: ignore[no-untyped-def]
            if seed.key == key_of(1):
                raise ZeroDivisionError
            return real(seed, now)

        monkeypatch.setattr(Seed, name, broken)

    async def scene() -> None:
        async with Farm() as farm:
            farm.engine.add(SeedSpec(key_of(number)) for number in range(3))
            await farm.until(lambda: any(isinstance(event, Problem) for event in farm.events))
            assert {status.key for status in farm.engine.status().seeds} == {key_of(0), key_of(2)}
            farm.engine.mark_changed(key_of(1))
            farm.engine.mark_changed(key_of(2))
            assert key_of(2) in {status.key for status in farm.engine.changes()}

    asyncio.run(scene())
    assert any(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in caplog.records)


def test_an_error_that_lasts_is_reported_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    events: list[Event] = []
    clock = 0.0
    notified = Problems(events.append, lambda: clock)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            notified.report(key_of(1), StoreUnreadable("damaged"))
            notified.report(key_of(2), KeyError("x"))
            notified.report(None, StoreUnreadable("damaged"))
        assert [(event.key, event.code) for event in events if isinstance(event, Problem)] == [
            (key_of(1), "STORAGE_UNREADABLE"),
            (key_of(2), "INTERNAL_ERROR"),
            (None, "STORAGE_UNREADABLE"),
        ]
        assert len(caplog.records) == 1
    notified.discard(key_of(1))
    notified.report(key_of(1), StoreUnreadable("damaged"))
    assert len(events) == 4
    clock = problems.REPEAT_ERROR
    notified.report(key_of(2), KeyError("x"))
    assert len(events) == 5


def test_what_a_db_refers_to_is_looked_through_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    drive = WriterOfDrive(store=memory_store())
    size = MAX_ENTRY_BYTES // 2
    for number in range(20):
        drive.put_blob("/a", BlobId(number, 1, 0, 1))
        drive.db.append(bytes(size))  # not a block of a bee, but see below
    drive.put_blob("/a", BlobId(30, 4, 0, 1))
    drive.db.append(bytes(8 << 20))
    read: list[int] = []
    real = Core.get

    def get(core: Core, index: int) -> bytes | None:
        read.append(index)
        block = real(core, index)
        return real(core, 1) if block is not None and not any(block[:100]) else block

    monkeypatch.setattr(Core, "get", get)
    needed, calls, found = RequiredBlobs(), 0, 0
    while True:
        before = len(read)
        found = needed.update(drive.db.core) or 0
        calls += 1
        assert sum(drive.db.core.byte_range(index)[1] for index in read[before:]) <= TURN_BYTES + size
        if needed.finished:
            break
    assert found == 34 and calls > 5
    assert len(read) == 41  # the block of 8 MiB was not read
    assert len(read) < SCAN_BLOCKS
    assert needed.update(drive.db.core) == 34 and len(read) == 41


def test_a_db_that_grows_while_it_is_scanned_keeps_the_loop_free() -> None:
    """What is missing of it has to come first: until then there is nothing to go on with."""
    drive = WriterOfDrive()
    entry = Entry(path="/a", seq=1, blob=BlobId(0, 1, 0, 1), metadata="x" * (MAX_ENTRY_BYTES // 2))
    for _ in range(30):
        root = TreeNode([drive.db.core.length], [])
        drive.db.append(encode_block(b"files\0/a", encode_entry(entry), [root]))
    drive.blobs.append([b"content"], drive.db.key_pair)
    bench = Bench(drive.key)
    bench.review()
    copy(drive.db.core, bench.sessions[drive.key].core)
    bench.review()
    copy(drive.blobs, bench.sessions[drive.blobs.key].core)
    at = bench.review()
    assert at == bench.now  # more of it in the next turn
    drive.put("/b")
    upgrade(drive.db.core, bench.sessions[drive.key].core)
    at = bench.review()
    assert at is None or at > bench.now
    copy(drive.db.core, bench.sessions[drive.key].core)
    turns = 0
    while (at := bench.review()) == bench.now:
        turns += 1
        assert turns < 50
    assert turns > 5
