"""A core against a model of it, through any mixture of downloads, forks, flushes, failures and crashes."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hypercore import bitfield
from hypercore.core import Core, Flush
from hypercore.errors import StorageError
from hypercore.storage import Batch, core_storage, schema
from hypercore.testing.cores import fetch_block, fetch_upgrade, follow_fork, make_writer
from support.core_places import DiskPlace, MemoryPlace, Place, contents
from support.examples import examples

pytestmark = pytest.mark.slow


class Snapshot(NamedTuple):
    fork: int
    tree: tuple[bytes, ...]
    """All blocks under the head, present or not."""
    blocks: dict[int, bytes]
    """Those that are present."""


EMPTY = Snapshot(0, (), {})


class CoreMachine(RuleBasedStateMachine):
    """`source` is a writer in memory; the core under test follows it, and is a model and a store."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(core_storage, "INLINE_MAX_BYTES", 1500)
        self.patch.setattr(schema, "SYNCHRONOUS", "OFF")
        # Pages of 32 bits, so that a core of some hundred blocks has many
        for name, value in {"PAGE_BITS": 32, "PAGE_BYTES": 4, "_SHIFT": 5, "_MASK": 31}.items():
            self.patch.setattr(bitfield, name, value)
        self.patch.setattr(bitfield, "_FULL", b"\xff" * 4)
        self.patch.setattr(core_storage, "PAGE_BITS", 32)
        for call in ("fsync", "fdatasync"):
            self.patch.setattr(os, call, lambda _: None)
        self.source = make_writer()
        self.written: tuple[bytes, ...] = ()
        self.salt = 0
        self.place = self.make_place()
        core = self.place.store.open_core(self.source.core.key)
        assert core is not None
        self.core: Core = core
        self.place.store.flush()
        self.now = EMPTY
        self.durable = EMPTY
        self.safe: set[int] = set()
        self.flush: Flush | None = None
        self.saving = EMPTY
        self.kept: set[int] = set()

    def make_place(self) -> Place:
        return MemoryPlace()

    def teardown(self) -> None:
        self.place.close()
        self.patch.undo()

    # --- the writer

    @rule(sizes=st.lists(st.integers(0, 120), min_size=1, max_size=90))
    def append(self, sizes: list[int]) -> None:
        self.salt += 1
        blocks = [(b"%d-%d;" % (self.salt, n) * 60)[:size] for n, size in enumerate(sizes)]
        self.source.append(*blocks)
        self.written += tuple(blocks)

    @precondition(lambda self: self.source.core.length)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        length = data.draw(st.integers(0, self.source.core.length))
        self.source.truncate(length)
        self.written = self.written[:length]

    # --- the core

    @precondition(lambda self: self.source.core.length > self.core.length and self.same_fork)
    @rule(with_block=st.booleans())
    def upgrade(self, with_block: bool) -> None:
        source = self.source.core
        last = source.length - 1 if with_block else None
        self.core.apply(fetch_upgrade(source, self.core, block=last))
        blocks = dict(self.now.blocks)
        if last is not None:
            blocks[last] = self.written[last]
        self.now = Snapshot(source.fork, self.written, blocks)

    @precondition(lambda self: self.core.length and self.same_fork)
    @rule(data=st.data(), count=st.integers(1, 40))
    def fetch(self, data: st.DataObject, count: int) -> None:
        start = data.draw(st.integers(0, self.core.length - 1))
        step = data.draw(st.sampled_from([1, 1, 1, 7, 31]))
        for index in range(start, min(self.core.length, start + count * step), step):
            self.core.apply(fetch_block(self.source.core, self.core, index))
            self.now.blocks[index] = self.written[index]

    @precondition(lambda self: not self.same_fork and self.source.core.length)
    @rule()
    def follow(self) -> None:
        pairs = enumerate(zip(self.now.tree, self.written))  # noqa: B905 - the shorter one decides
        shared = next(
            (index for index, (old, new) in pairs if old != new), min(len(self.now.tree), len(self.written))
        )
        follow_fork(self.source.core, self.core)
        kept = contents(self.core)
        expected = {i: block for i, block in self.now.blocks.items() if i < shared}
        assert kept.items() <= expected.items()
        if len(self.now.blocks) == len(self.now.tree):
            assert kept == expected  # who has the whole old tree finds the exact place
        self.now = Snapshot(self.source.core.fork, self.written, kept)
        self.safe &= kept.keys()
        self.kept &= kept.keys()

    @precondition(lambda self: self.core.length)
    @rule(data=st.data())
    def clear(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, self.core.length))
        end = data.draw(st.integers(0, self.core.length))
        self.core.clear(start, end)
        for index in range(start, end):
            self.now.blocks.pop(index, None)
            self.safe.discard(index)
            self.kept.discard(index)

    # --- the store

    @precondition(lambda self: self.flush is None)
    @rule()
    def begin_flush(self) -> None:
        self.flush = self.place.store.prepare_flush()
        if self.flush is not None:
            self.saving = self.snapshot()
            self.kept = set(self.saving.blocks)

    @precondition(lambda self: self.flush is not None)
    @rule()
    def finish_flush(self) -> None:
        assert self.flush is not None
        self.flush.run()
        [(core, runs)] = self.flush.finish()
        assert core is self.core
        became = {index for start, end in runs for index in range(start, end)}
        assert became == self.kept - self.safe
        self.durable, self.flush = self.saving, None
        self.safe |= became

    @precondition(lambda self: self.flush is not None)
    @rule(events=st.booleans())
    def flush_fails(self, events: bool) -> None:
        """An error comes back from the disk; sometimes after everything was written nevertheless."""
        assert self.flush is not None
        backend = self.place.store.backend
        commit = backend.commit

        def fail(batch: Batch) -> None:
            if events:
                commit(batch)
            raise StorageError("out of order")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backend, "commit", fail)
            with pytest.raises(StorageError):
                self.flush.run()
        self.flush.abandon()
        self.flush = None
        if events:
            self.durable = self.saving

    @rule(in_flight=st.booleans())
    def crash(self, in_flight: bool) -> None:
        if self.flush is not None and in_flight:
            self.flush.run()  # it was written, but nobody was told any more
            self.durable = self.saving
        self.flush = None
        self.place.crash()
        self.reopened()

    @rule()
    def restart(self) -> None:
        if self.flush is not None:
            self.finish_flush()
        self.place.store.flush()
        self.durable = self.snapshot()
        self.place.crash()
        self.reopened()

    @precondition(lambda self: self.flush is None)
    @rule()
    def close_and_open(self) -> None:
        self.place.store.close_core(self.core)
        self.place.store.flush()
        self.durable = self.snapshot()
        self.reopened()

    def reopened(self) -> None:
        self.core = self.place.core(self.source.core.key)
        self.now = self.durable._replace(blocks=dict(self.durable.blocks))
        self.safe = set(self.durable.blocks)
        self.kept = set()

    # --- what always holds

    @invariant()
    def the_core_is_what_the_model_is(self) -> None:
        core = self.core
        assert (core.fork, core.length) == (self.now.fork, len(self.now.tree))
        assert contents(core) == self.now.blocks
        assert core.bitfield.count == len(self.now.blocks)
        assert core.have_bytes == sum(map(len, self.now.blocks.values()))
        assert core.check_head()

    @invariant()
    def durable_blocks_are_those_of_finished_flushes(self) -> None:
        durable = {index for start, end in self.core.durable.runs() for index in range(start, end)}
        assert durable == self.safe
        if self.core.durable_complete:
            assert self.durable == self.now

    @invariant()
    def nothing_is_counted_that_does_not_wait(self) -> None:
        if self.flush is None and not self.place.store.dirty:
            assert self.place.store.dirty_bytes == 0

    # --- words for the above

    @property
    def same_fork(self) -> bool:
        return self.source.core.fork == self.core.fork

    def snapshot(self) -> Snapshot:
        return self.now._replace(blocks=dict(self.now.blocks))


class DiskMachine(CoreMachine):
    def make_place(self) -> Place:
        memory = Path("/dev/shm")  # hundreds of stores, none of which has to last
        self.folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
        return DiskPlace(self.folder / "data", page_cache_bytes=3000)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


TestCoreOverMemory = CoreMachine.TestCase
TestCoreOverMemory.settings = settings(max_examples=examples(150), stateful_step_count=25, deadline=None)
TestCoreOverDisk = DiskMachine.TestCase
TestCoreOverDisk.settings = settings(
    max_examples=examples(150),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
