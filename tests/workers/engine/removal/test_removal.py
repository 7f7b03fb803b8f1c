"""What is deleted with a key, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from hypercore.aio.cores.corestore import Corestore
from hypercore.core import Store, disk_store, memory_store
from hypercore.crypto import KeyPair
from hypercore.errors import StoreUnreadable
from hypercore.manifest import Manifest
from workers.engine.removal import owners as owners_module
from workers.engine.removal import removal
from workers.engine.removal.owners import MAX_CORES_OF_KEY, MAX_RECENT_KEYS, Owners
from workers.engine.removal.removal import Removals

from ..fakes import Writer, WriterOfDrive


class Bench:
    """Removals over a store that holds the drives of a test."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.owners = Owners(store)
        self.cores = Corestore(store)
        self.wanted: set[bytes] = set()
        self.kept: set[bytes] = set()
        self.removed: list[bytes] = []
        self.loaded = asyncio.Event()
        self.loaded.set()
        self.removals = Removals(
            self.cores,
            self.owners,
            is_wanted=self.wanted.__contains__,
            on_removed=self.removed.append,
            may_begin=self._begin,
            keeps=self.kept.__contains__,
        )

    async def _begin(self) -> None:
        await self.loaded.wait()

    def claimed(self, drive: WriterOfDrive, blobs: bytes | None = None) -> None:
        """As a seed of that drive has recorded it."""
        assert self.owners.claim(drive.key, drive.key)
        assert self.owners.claim(drive.key, blobs or drive.blobs.key)

    def holds(self, *cores: bytes) -> list[bool]:
        return [self.store.info(core) is not None for core in cores]

    async def remove(self, *keys: bytes, until: Callable[[], bool] | None = None) -> None:
        self.removals.request(keys)
        task = asyncio.create_task(self.removals.run())
        async with asyncio.timeout(10):
            while not (until() if until else set(keys) <= set(self.removed)):
                await asyncio.sleep(0.01)
        task.cancel()


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return memory_store() if request.param == "memory" else disk_store(tmp_path / "store")


def test_a_core_that_is_kept_for_another_reason_stays(store: Store) -> None:
    async def scene() -> None:
        bench, drive = Bench(store), WriterOfDrive(store=store)
        drive.put("/a", b"content")
        bench.claimed(drive)
        store.flush()
        bench.kept.add(drive.blobs.key)
        await bench.remove(drive.key)
        assert bench.holds(drive.key, drive.blobs.key) == [False, True]
        await bench.cores.close()

    asyncio.run(scene())


def test_a_drive_goes_with_its_blobs_and_leaves_no_records(store: Store) -> None:
    async def scene() -> None:
        bench, drive = Bench(store), WriterOfDrive(store=store)
        drive.put("/a", b"content")
        bench.claimed(drive)
        store.flush()
        await bench.remove(drive.key)
        assert bench.holds(drive.key, drive.blobs.key) == [False, False]
        assert store.meta_names("") == []
        await bench.cores.close()

    asyncio.run(scene())


def test_a_drive_not_opened_in_this_run_is_removed_with_its_derived_blobs(store: Store) -> None:
    async def scene() -> None:
        bench, drive = Bench(store), WriterOfDrive(store=store)
        store.flush()
        await bench.remove(drive.key)
        assert bench.holds(drive.key, drive.blobs.key) == [False, False]
        await bench.cores.close()

    asyncio.run(scene())


@pytest.mark.parametrize("recorded", [True, False], ids=["with records", "by its manifest"])
def test_a_header_that_names_the_blobs_of_another_drive_takes_nothing_along(
    store: Store, recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if that drive is not wanted at the moment (a paused worker has no entries), and if no claim of it
    was recorded."""
    monkeypatch.setattr(removal, "MANIFESTS_AT_ONCE", 2)

    async def scene() -> None:
        bench, victim = Bench(store), WriterOfDrive(store=store)
        for _ in range(5):
            Writer(store=store)
        victim.put("/a", b"content")
        hostile = WriterOfDrive(store=store, content_feed=victim.blobs.key)
        if recorded:
            bench.claimed(victim)
        bench.claimed(hostile, victim.blobs.key)
        store.flush()
        await bench.remove(hostile.key)
        assert bench.holds(hostile.key, victim.key, victim.blobs.key) == [False, True, True]
        await bench.remove(victim.key)
        assert bench.holds(victim.key, victim.blobs.key) == [False, False]
        assert store.meta_names("") == []
        await bench.cores.close()

    asyncio.run(scene())


def test_a_header_that_names_a_wanted_key_takes_nothing_along() -> None:
    async def scene() -> None:
        bench, victim = Bench(memory_store()), Writer(compat=True)
        bench.store.open_core(victim.key)
        hostile = WriterOfDrive(store=bench.store, content_feed=victim.key)
        bench.claimed(hostile, victim.key)
        bench.wanted.add(victim.key)  # about to be added: it has claimed nothing yet
        await bench.remove(hostile.key)
        assert bench.holds(hostile.key, victim.key) == [False, True]
        await bench.cores.close()

    asyncio.run(scene())


def test_the_contents_that_a_drive_of_the_old_form_names_go_with_it() -> None:
    async def scene() -> None:
        bench = Bench(memory_store())
        pair = KeyPair.from_seed(bytes(32))
        contents = bench.store.create_core(pair, manifest=Manifest.default(pair.public_key))
        drive = WriterOfDrive(store=bench.store, content_feed=contents.key)
        bench.claimed(drive, contents.key)
        await bench.remove(drive.key)
        assert bench.holds(drive.key, contents.key) == [False, False]
        await bench.cores.close()

    asyncio.run(scene())


def test_nothing_is_deleted_before_all_keys_are_known_and_what_is_wanted_again_stays() -> None:
    async def scene() -> None:
        bench = Bench(memory_store())
        drive, other = WriterOfDrive(store=bench.store), WriterOfDrive(store=bench.store)
        bench.loaded.clear()
        bench.removals.request([drive.key, other.key])
        task = asyncio.create_task(bench.removals.run())
        await asyncio.sleep(0.05)
        assert bench.holds(drive.key) == [True]
        bench.wanted.add(other.key)
        bench.loaded.set()
        await asyncio.sleep(0.05)
        assert bench.holds(drive.key, drive.blobs.key, other.key, other.blobs.key) == [
            False,
            False,
            True,
            True,
        ]
        assert bench.removed == [drive.key]
        task.cancel()
        await bench.cores.close()

    asyncio.run(scene())


def test_a_core_in_use_is_deleted_when_it_is_not_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "RETRY_DELAY", 0.02)

    async def scene() -> None:
        bench = Bench(memory_store())
        drive, free = WriterOfDrive(store=bench.store), WriterOfDrive(store=bench.store)
        session = bench.cores.get(drive.blobs.key, active=False)
        await bench.remove(drive.key, free.key, until=lambda: free.key in bench.removed)
        assert drive.key not in bench.removed
        session.close()
        await bench.remove(drive.key)
        assert bench.holds(drive.key, drive.blobs.key) == [False, False]
        await bench.cores.close()

    asyncio.run(scene())


def test_a_key_claims_no_more_than_its_share() -> None:
    owners = Owners(memory_store())
    key = bytes(32)
    cores = [bytes([number]) * 32 for number in range(MAX_CORES_OF_KEY + 1)]
    assert [owners.claim(key, core) for core in cores] == [True] * MAX_CORES_OF_KEY + [False]
    assert owners.cores_of(key) == cores[:-1]
    assert owners.claim(key, cores[3])
    assert owners.claim(bytes([77]) * 32, cores[3])
    assert owners.keys_of(cores[3]) == [key, bytes([77]) * 32]
    owners.release(key)
    assert owners.cores_of(key) == [] and owners.keys_of(cores[3]) == [bytes([77]) * 32]
    assert [owners.claim(key, core) for core in reversed(cores)] == [True] * MAX_CORES_OF_KEY + [False]
    assert owners.cores_of(key) == sorted(cores)[1:]


def test_claims_of_an_earlier_run_count_and_few_are_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_RECENT_KEYS > 2
    monkeypatch.setattr(owners_module, "MAX_RECENT_KEYS", 2)
    store = memory_store()
    keys = [bytes([number]) * 32 for number in range(5)]
    cores = [bytes([number]) * 32 for number in range(100, 100 + MAX_CORES_OF_KEY)]
    for _ in range(2):  # the second time by another run
        owners = Owners(store)
        for core in cores:
            assert all(owners.claim(key, core) for key in keys)
            assert len(owners._recent) <= 2
        assert [owners.cores_of(key) for key in keys] == [cores] * len(keys)
        assert not any(owners.claim(key, bytes(32)) for key in keys)


def test_a_disk_that_refuses_is_reported_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(removal, "RETRY_DELAY", 0.005)

    async def scene() -> None:
        bench = Bench(memory_store())
        drive, other = WriterOfDrive(store=bench.store), WriterOfDrive(store=bench.store)
        real, tries = bench.store.stored_manifest, 0

        def stored_manifest(key: bytes) -> Manifest | None:
            nonlocal tries
            tries += key == drive.key
            if key == drive.key and tries < 5:
                raise StoreUnreadable("the database is damaged") if tries < 3 else OSError("or worse")
            return real(key)

        bench.store.stored_manifest = stored_manifest  # type: ignore[method-assign]
        await bench.remove(drive.key, other.key)
        assert bench.removed == [other.key, drive.key] and tries == 5
        await bench.cores.close()

    asyncio.run(scene())
    assert [record.getMessage().partition(" yet: ")[2] for record in caplog.records] == [
        "the database is damaged"
    ]
