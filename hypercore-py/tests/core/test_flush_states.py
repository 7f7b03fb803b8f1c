"""A flush does what the table of its states says, also where two threads are at it."""

from __future__ import annotations

import threading

import pytest

from hypercore.core import Store, memory_store
from hypercore.core import store as store_module
from hypercore.core.store import TRANSITIONS, Flush, FlushState, FlushStep
from hypercore.errors import LocalProtocolError, StorageError
from hypercore.storage import Batch, MemoryBackend
from hypercore.testing.cores import make_writer


class Blocking(MemoryBackend):
    """A backend that does not write before it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()

    def commit(self, batch: Batch) -> None:
        self.let.wait(30)
        super().commit(batch)


class Refusing(MemoryBackend):
    """A backend that takes nothing for a while."""

    refuses = False

    def commit(self, batch: Batch) -> None:
        if self.refuses:
            raise StorageError("the disk is full")
        super().commit(batch)


@pytest.mark.parametrize("state", FlushState)
@pytest.mark.parametrize("step", FlushStep)
def test_a_flush_does_what_its_table_says_and_nothing_else(state: FlushState, step: FlushStep) -> None:
    store = memory_store()
    make_writer(store=store).core.meta = b"x"
    flush = store.prepare_flush()
    assert flush is not None
    flush.state = state
    if (state, step) in TRANSITIONS:
        flush._move(step)
        assert flush.state is TRANSITIONS[state, step]
    else:
        with pytest.raises(LocalProtocolError, match=state.value):
            flush._move(step)
        assert flush.state is state


def test_what_is_done_with_a_flush_is_in_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way that its methods go, and those of the store."""
    taken = set()
    real = Flush._step

    def step(flush: Flush, name: FlushStep) -> None:
        before = flush.state
        real(flush, name)
        taken.add((before, name))

    monkeypatch.setattr(Flush, "_step", step)
    refusing = Refusing()
    store = Store(refusing)
    core = make_writer(store=store).core

    def prepared() -> Flush:
        core.meta = (core.meta or b"") + b"x"
        flush = store.prepare_flush()
        assert flush is not None
        return flush

    prepared().abandon()
    refusing.refuses = True
    flush = prepared()
    with pytest.raises(StorageError):
        flush.run()
    refusing.refuses = False
    flush = prepared()  # the one that failed is abandoned by the store
    flush.run()
    flush.abandon()
    flush = prepared()
    flush.run()
    flush.finish()
    assert taken == set(TRANSITIONS)


def test_a_flush_that_begins_while_it_is_abandoned_is_settled_by_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = Blocking()
    backend.let.set()
    store = Store(backend)
    make_writer(store=store).core.meta = b"x"
    backend.let.clear()
    flush = store.prepare_flush()
    assert flush is not None
    beginning, abandoned = threading.Event(), threading.Event()

    class Table(dict[tuple[FlushState, FlushStep], FlushState]):
        def get(self, key: tuple[FlushState, FlushStep], default: object = None) -> FlushState | None:  # type: ignore[override]
            if key[1] is FlushStep.RUN:
                beginning.set()
                abandoned.wait(0.2)  # as long as nothing keeps the other thread from abandoning it
            return super().get(key)

    monkeypatch.setattr(store_module, "TRANSITIONS", Table(TRANSITIONS))
    thread = threading.Thread(target=flush.run)
    thread.start()
    beginning.wait()
    flush.abandon()
    abandoned.set()
    assert store.prepare_flush() is None, "there is one at a time"
    backend.let.set()
    thread.join()
    assert (flush.state, flush.detached) == (FlushState.WRITTEN, True)
    assert store.prepare_flush() is None and not store.dirty
    store.close()
