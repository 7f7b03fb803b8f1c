"""Opening, closing, finding, removing and flushing cores."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hypercore.core import Core, Store, memory_store
from hypercore.core.store import FlushState
from hypercore.crypto import KeyPair, discovery_key
from hypercore.errors import LocalProtocolError, StorageError
from hypercore.storage import Batch, DiskBackend
from hypercore.testing.cores import download, make_writer, sample_blocks
from support.core_places import DiskPlace, Place, contents, whole

LARGE = [bytes([n]) * 65536 for n in range(20)]


def key(n: int) -> bytes:
    return bytes([n]) * 32


def opened(store: Store, name: bytes) -> Core:
    core = store.open_core(name)
    assert core is not None
    return core


# --- opening and finding


def test_an_open_core_is_one_object(place: Place) -> None:
    core = opened(place.store, key(1))
    assert opened(place.store, key(1)) is core
    assert place.store.open_cores == 1


def test_a_core_that_is_not_stored_is_made_only_if_wanted(place: Place) -> None:
    assert place.store.open_core(key(1), create=False) is None
    assert place.store.find(discovery_key(key(1))) is None
    opened(place.store, key(1))
    assert place.store.open_core(key(1), create=False) is not None
    assert place.store.find(discovery_key(key(1))) == key(1)
    place.restart()
    assert place.store.find(discovery_key(key(1))) == key(1)
    assert place.store.find(key(1)) is None


def test_a_closed_core_is_forgotten_once_it_is_durable(place: Place) -> None:
    writer = make_writer(store=place.store)
    writer.core.append(sample_blocks(5), writer.key_pair)
    place.store.close_core(writer.core)
    assert place.store.open_cores == 1
    assert opened(place.store, writer.core.key) is writer.core  # taken back
    place.store.close_core(writer.core)
    place.store.flush()
    assert place.store.open_cores == 0
    again = opened(place.store, writer.core.key)
    assert again is not writer.core
    assert whole(again) == sample_blocks(5)
    place.store.close_core(again)
    assert place.store.open_cores == 0
    place.store.close_core(again)  # once more does no harm


def test_a_closed_core_is_read_and_not_written_and_harms_no_other(place: Place) -> None:
    writer = make_writer(sample_blocks(3), store=place.store)
    place.store.flush()
    place.store.close_core(writer.core)
    changes: tuple[Callable[[], object], ...] = (
        lambda: writer.core.append([b"late"], writer.key_pair),
        lambda: writer.core.truncate(1, writer.key_pair),
        lambda: writer.core.clear(0),
        lambda: setattr(writer.core, "meta", b"late"),
    )
    for change in changes:
        with pytest.raises(LocalProtocolError, match="closed"):
            change()
    assert whole(opened(place.store, writer.core.key)) == sample_blocks(3)
    other = make_writer(store=place.store, seed=9)
    other.core.append([b"x"], other.key_pair)
    place.store.flush()
    assert other.core.durable_complete


def test_closing_an_object_of_the_past_does_not_close_the_core(place: Place) -> None:
    old = make_writer(store=place.store).core
    place.store.close_core(old)
    new = opened(place.store, old.key)
    place.store.close_core(old)
    assert opened(place.store, old.key) is new


def test_cores_lists_open_and_closed_ones_as_they_are_now(place: Place) -> None:
    first = make_writer(sample_blocks(9), store=place.store, seed=1)
    source = make_writer(sample_blocks(70), seed=2).core
    second = opened(place.store, source.key)
    download(source, second, [0, 1, 5, 69])
    second.meta = b"mine"
    place.store.flush()
    place.store.close_core(first.core)
    place.store.close_core(second)
    assert place.store.open_cores == 0
    infos = {info.key: info for info in place.store.cores()}
    assert infos.keys() == {first.core.key, source.key}
    mine = infos[first.core.key]
    assert (mine.length, mine.byte_length, mine.have, mine.complete) == (9, first.core.byte_length, 9, True)
    other = infos[source.key]
    assert (other.length, other.have, other.complete, other.meta) == (70, 4, False, b"mine")
    assert other.discovery_key == discovery_key(source.key)
    second = opened(place.store, source.key)
    download(source, second, [7])
    assert {info.key: info.have for info in place.store.cores()}[source.key] == 5


def test_writers_are_made_with_default_given_and_no_manifest(place: Place) -> None:
    keys = KeyPair.from_seed(key(3))
    plain = place.store.create_core(keys)
    compat = place.store.create_core(keys, compat=True)
    assert plain.manifest is not None and plain.manifest.key() == plain.key
    assert compat.key == keys.public_key
    assert place.store.create_core(keys) is plain


# --- removing


@pytest.mark.parametrize("blocks", [sample_blocks(20), LARGE], ids=["small", "large"])
@pytest.mark.parametrize("is_open", [True, False])
def test_a_removed_core_is_gone_with_its_data(place: Place, blocks: list[bytes], is_open: bool) -> None:
    writer = make_writer(blocks, store=place.store)
    keep = make_writer(blocks, store=place.store, seed=2)
    if not is_open:
        place.store.close_core(writer.core)
    assert place.store.remove_core(writer.core.key)
    assert not place.store.remove_core(writer.core.key)
    assert place.store.find(writer.core.discovery_key) is None
    assert place.store.open_core(writer.core.key, create=False) is None
    assert [info.key for info in place.store.cores()] == [keep.core.key]
    place.restart()
    assert place.store.find(writer.core.discovery_key) is None
    assert [info.key for info in place.store.cores()] == [keep.core.key]
    assert whole(place.core(keep.core.key)) == blocks


def test_a_crash_before_the_flush_keeps_the_removed_core(place: Place) -> None:
    writer = make_writer(LARGE, store=place.store)
    place.store.remove_core(writer.core.key)
    place.crash()
    assert whole(place.core(writer.core.key)) == LARGE


def test_a_removed_core_can_be_made_again_at_once(place: Place) -> None:
    writer = make_writer(LARGE, store=place.store)
    place.store.remove_core(writer.core.key)
    again = opened(place.store, writer.core.key)
    assert again.length == 0
    download(make_writer(LARGE[:18]).core, again)
    place.restart()
    assert whole(place.core(writer.core.key)) == LARGE[:18]


def test_a_core_removed_during_its_flush_stays_removed(place: Place) -> None:
    writer = make_writer(store=place.store)
    writer.core.append(LARGE, writer.key_pair)
    flush = place.store.prepare_flush()
    assert flush is not None
    place.store.remove_core(writer.core.key)
    flush.run()
    assert flush.finish() == []
    assert place.store.find(writer.core.discovery_key) is None
    assert place.store.dirty_bytes == 0
    place.restart()
    assert place.store.cores() == []


def test_what_happens_to_a_removed_core_is_not_stored(place: Place) -> None:
    writer = make_writer(sample_blocks(3), store=place.store)
    place.store.remove_core(writer.core.key)
    writer.core.append([b"late"], writer.key_pair)
    assert place.store.dirty_bytes == 0
    place.restart()
    assert place.store.cores() == []


def test_the_file_of_a_removed_core_is_deleted(disk: DiskPlace) -> None:
    writer = make_writer(LARGE, store=disk.store)
    small = make_writer([bytes(60000)] * 15, store=disk.store, seed=2)
    assert len(list(disk.path.glob("blocks/*/*"))) == 1
    before = disk.store.disk_bytes()
    disk.store.remove_core(writer.core.key)
    disk.store.flush()
    assert list(disk.path.glob("blocks/*/*")) == []
    assert disk.store.disk_bytes() < before - 19 * 65536
    disk.store.remove_core(small.core.key)
    disk.store.flush()
    disk.store.close()
    assert (disk.path / "cores.db").stat().st_size < 5 << 20


def test_room_of_removed_small_cores_is_given_back(disk: DiskPlace) -> None:
    writers = [make_writer([bytes(60000)] * 15, store=disk.store, seed=n) for n in range(20)]
    for writer in writers:
        disk.store.remove_core(writer.core.key)
    disk.store.flush()
    disk.store.close()
    assert (disk.path / "cores.db").stat().st_size < 6 << 20  # of 18 MB


# --- flushing


def test_nothing_is_durable_before_the_flush_is_finished(place: Place) -> None:
    writer = make_writer(store=place.store)
    core = writer.core
    before = core.durable_head
    core.append(sample_blocks(5), writer.key_pair)
    assert (core.contiguous_length, core.durable_contiguous_length) == (5, 0)
    flush = place.store.prepare_flush()
    assert flush is not None
    core.append(sample_blocks(2), writer.key_pair)
    flush.run()
    assert core.durable_contiguous_length == 0
    assert core.durable_head is before
    assert flush.finish() == [(core, [(0, 5)])]
    assert core.durable_contiguous_length == 5
    assert core.durable_head.length == 5
    assert not core.durable_complete
    assert place.store.flush() == [(core, [(5, 7)])]
    assert core.durable_complete
    assert core.durable_head is core.head


def test_a_flush_reports_the_runs_that_became_durable(place: Place) -> None:
    source = make_writer(sample_blocks(30)).core
    core = opened(place.store, source.key)
    download(source, core, [3, 4, 5, 29, 0])
    assert place.store.flush() == [(core, [(0, 1), (3, 6), (29, 30)])]
    download(source, core, [6, 1])
    assert place.store.flush() == [(core, [(1, 2), (6, 7)])]
    assert place.store.flush() == []


def test_there_is_one_flush_at_a_time(place: Place) -> None:
    writer = make_writer(store=place.store)
    writer.core.append([b"a"], writer.key_pair)
    flush = place.store.prepare_flush()
    assert flush is not None
    writer.core.append([b"b"], writer.key_pair)
    assert place.store.prepare_flush() is None
    flush.run()
    assert place.store.prepare_flush() is None
    flush.finish()
    second = place.store.prepare_flush()
    assert second is not None
    second.run()
    second.finish()
    assert place.store.prepare_flush() is None


def test_a_flush_is_used_in_its_order(place: Place) -> None:
    make_writer(store=place.store).core.meta = b"x"
    flush = place.store.prepare_flush()
    assert flush is not None
    with pytest.raises(LocalProtocolError):
        flush.finish()
    flush.run()
    with pytest.raises(LocalProtocolError):
        flush.run()
    flush.finish()
    with pytest.raises(LocalProtocolError):
        flush.finish()
    flush.abandon()  # too late to do anything
    assert not place.store.dirty


def test_dirty_bytes_count_what_is_in_memory(place: Place) -> None:
    writer = make_writer(store=place.store)
    assert place.store.dirty_bytes == 0
    writer.core.append(LARGE, writer.key_pair)
    size = place.store.dirty_bytes
    assert 20 * 65536 <= size < 20 * 65536 + 20 * 1000
    flush = place.store.prepare_flush()
    assert flush is not None
    writer.core.append(LARGE, writer.key_pair)
    assert place.store.dirty_bytes == 2 * size
    flush.run()
    flush.finish()
    assert place.store.dirty_bytes == size
    place.store.flush()
    assert place.store.dirty_bytes == 0


def test_changes_during_a_flush_belong_to_the_next(place: Place) -> None:
    source = make_writer(LARGE).core
    core = opened(place.store, source.key)
    download(source, core, range(10))
    flush = place.store.prepare_flush()
    assert flush is not None
    core.clear(2, 4)
    download(source, core, [2, 15])
    flush.run()
    assert flush.finish() == [(core, [(0, 2), (4, 10)])]
    assert contents(core) == {i: LARGE[i] for i in (0, 1, 2, 4, 5, 6, 7, 8, 9, 15)}
    place.restart()
    assert contents(place.core(source.key)) == {i: LARGE[i] for i in (0, 1, 2, 4, 5, 6, 7, 8, 9, 15)}


def test_a_truncation_during_a_flush_takes_its_blocks_back(place: Place) -> None:
    writer = make_writer(store=place.store)
    writer.core.append(LARGE, writer.key_pair)
    flush = place.store.prepare_flush()
    assert flush is not None
    writer.core.truncate(7, writer.key_pair)
    writer.core.append([b"new"], writer.key_pair)
    flush.run()
    assert flush.finish() == [(writer.core, [(0, 7)])]
    assert not writer.core.durable.get(7)
    assert place.store.flush() == [(writer.core, [(7, 8)])]
    place.crash()
    assert whole(place.core(writer.core.key)) == [*LARGE[:7], b"new"]


class Broken(DiskBackend):
    """A disk that fails when it is asked to."""

    fail = False

    def commit(self, batch: Batch) -> None:
        if self.fail:
            raise StorageError("broken")
        super().commit(batch)


def test_a_failed_flush_is_taken_up_by_the_next(tmp_path: Path) -> None:
    backend = Broken(tmp_path)
    store = Store(backend)
    writer = make_writer(sample_blocks(3), store=store)
    removed = make_writer(sample_blocks(3), store=store, seed=9)
    backend.fail = True
    writer.core.append(LARGE, writer.key_pair)
    writer.core.clear(1, 2)
    store.set_meta("a", b"1")
    store.remove_core(removed.core.key)
    with pytest.raises(StorageError):
        store.flush()
    flush = store.prepare_flush()
    assert flush is not None
    store.set_meta("b", b"2")
    writer.core.append([b"later"], writer.key_pair)
    with pytest.raises(StorageError):
        flush.run()
    # A caller that forgot to abandon it is helped
    assert writer.core.get(5) == LARGE[2]
    assert store.find(removed.core.discovery_key) is None
    backend.fail = False
    assert store.flush() == [(writer.core, [(3, 24)])]
    store.close()
    with Store(DiskBackend(tmp_path)) as store:
        core = opened(store, writer.core.key)
        everything = [*sample_blocks(3), *LARGE, b"later"]
        assert contents(core) == {i: block for i, block in enumerate(everything) if i != 1}
        assert (store.get_meta("a"), store.get_meta("b")) == (b"1", b"2")
        assert store.find(removed.core.discovery_key) is None


def test_close_flushes_and_waits_for_the_flush_on_its_way(tmp_path: Path) -> None:
    store = Store(DiskBackend(tmp_path))
    writer = make_writer(store=store)
    writer.core.append(LARGE, writer.key_pair)
    flush = store.prepare_flush()
    assert flush is not None
    writer.core.append([b"last"], writer.key_pair)
    thread = threading.Thread(target=flush.run)
    thread.start()
    store.close()
    thread.join()
    store.close()
    with Store(DiskBackend(tmp_path)) as store:
        assert whole(opened(store, writer.core.key)) == [*LARGE, b"last"]


def test_close_runs_a_flush_that_was_only_prepared(tmp_path: Path) -> None:
    with Store(DiskBackend(tmp_path)) as store:
        writer = make_writer(store=store)
        writer.core.append([b"a"], writer.key_pair)
        store.prepare_flush()
    with Store(DiskBackend(tmp_path)) as store:
        assert whole(opened(store, writer.core.key)) == [b"a"]


def test_reading_goes_on_while_another_thread_flushes(tmp_path: Path) -> None:
    """A small core becomes a large one under the eyes of a reader, whose rows move into a file meanwhile."""
    store = Store(DiskBackend(tmp_path))
    writer = make_writer(sample_blocks(200), store=store)
    for round_ in range(12):
        writer.core.append([bytes([round_]) * 100_000], writer.key_pair)
        flush = store.prepare_flush()
        assert flush is not None
        thread = threading.Thread(target=flush.run)
        thread.start()
        while thread.is_alive():
            assert [writer.core.get(index) for index in range(200)] == sample_blocks(200)
        thread.join()
        assert writer.core.get(0) == sample_blocks(1)[0]  # written, not finished
        flush.finish()
    assert writer.core.storage.in_file
    assert [writer.core.get(200 + n) for n in range(12)] == [bytes([n]) * 100_000 for n in range(12)]
    store.close()


class Slow(DiskBackend):
    """A disk that does not write before it is let."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.let = threading.Event()
        self.fail = False

    def commit(self, batch: Batch) -> None:
        self.let.wait(30)
        if self.fail:
            raise StorageError("after all")
        super().commit(batch)


@pytest.mark.parametrize("fails", [False, True])
def test_an_abandoned_flush_that_still_runs_is_settled_by_the_store(tmp_path: Path, fails: bool) -> None:
    backend = Slow(tmp_path)
    store = Store(backend)
    keys = KeyPair.from_seed(key(1))
    core = store.create_core(keys)
    core.append([b"a"], keys)
    flush = store.prepare_flush()
    assert flush is not None

    def run() -> None:
        with contextlib.suppress(StorageError):
            flush.run()

    thread = threading.Thread(target=run)
    thread.start()
    while flush.state is FlushState.PREPARED:
        thread.join(0.001)
    flush.abandon()
    assert store.prepare_flush() is None
    assert core.get(0) == b"a"
    backend.fail = fails
    backend.let.set()
    thread.join()
    backend.fail = False
    again = store.prepare_flush()
    assert core.durable.get(0) is not fails
    assert (again is not None) is fails
    store.close()
    with Store(DiskBackend(tmp_path)) as store:
        assert whole(opened(store, core.key)) == [b"a"]


def test_memory_stores_are_independent() -> None:
    first, second = memory_store(), memory_store()
    make_writer([b"a"], store=first)
    assert second.cores() == []
    assert first.disk_bytes() == 0
