"""Writing bees: what vectors and the replays against the official writer do not cover."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.bee import Bee
from hypercore.bee.messages import MAX_KEYS, BeeBlock, Child
from hypercore.bee.tree import MIN_KEYS
from hypercore.bee.writer import BeeWriter
from hypercore.blocks import MemorySource
from hypercore.errors import BlockNotAvailable, InvalidContent, LocalProtocolError
from support.content import bee_with, listed, numbered
from support.examples import examples


def check_balance(log: MemorySource) -> None:
    """Every leaf equally deep, every node but the root at least half full."""
    depths: set[int] = set()

    def visit(child: Child, depth: int) -> None:
        node = BeeBlock.decode(child.seq, log.blocks[child.seq] or b"").node(child.offset)
        assert len(node.keys) <= MAX_KEYS
        assert depth == 0 or len(node.keys) >= MIN_KEYS
        if not node.children:
            depths.add(depth)
        for below in node.children:
            visit(below, depth + 1)

    if log.length > 1:
        visit(Child(log.length - 1, 0), 0)
        assert len(depths) == 1


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 150), st.booleans()), min_size=1, max_size=60), max_size=12)
)
@settings(max_examples=examples(60))
def test_the_tree_stays_balanced(batches: list[list[tuple[int, bool]]]) -> None:
    log = MemorySource()
    for ops in batches:
        with BeeWriter(log).batch() as batch:
            for number, is_put in ops:
                if is_put:
                    batch.put(b"%03d" % number, None)
                else:
                    batch.delete(b"%03d" % number)
        check_balance(log)


def test_deleting_everything_leaves_an_empty_bee_that_can_be_written_again() -> None:
    log = bee_with(*numbered(200))
    writer = BeeWriter(log)
    for key in numbered(200)[::-1]:
        assert writer.delete(key)
        check_balance(log)
    assert listed(Bee(log).iterate()) == []
    assert not writer.delete(b"00000")
    writer.put(b"again", b"")
    assert [e.key for e in listed(Bee(log).iterate())] == [b"again"]


def test_nothing_is_appended_by_a_batch_that_fails_or_does_nothing() -> None:
    log = bee_with(b"a")
    writer = BeeWriter(log)
    with pytest.raises(KeyError), writer.batch() as batch:
        batch.put(b"b", b"")
        raise KeyError
    with writer.batch() as batch:
        assert not batch.delete(b"c")
    assert log.length == 2


def test_a_batch_that_is_over_or_overtaken_writes_nothing() -> None:
    log = bee_with(b"a")
    writer = BeeWriter(log)
    batch = writer.batch()
    batch.put(b"b", b"")
    writer.put(b"c", b"")
    with pytest.raises(LocalProtocolError, match="while a batch was open"):
        batch.flush()
    with pytest.raises(LocalProtocolError, match="over"):
        batch.put(b"d", b"")
    assert [e.key for e in listed(Bee(log).iterate())] == [b"a", b"c"]


def test_a_batch_on_an_empty_log_begins_with_the_header() -> None:
    log = MemorySource()
    with BeeWriter(log).batch() as batch:
        assert batch.put(b"a", b"1") == 1
        assert batch.put(b"b", b"2") == 2
    assert [e[:2] for e in listed(Bee(log).iterate())] == [(1, b"a"), (2, b"b")]
    BeeWriter(log).write_header()
    assert log.length == 3


def test_only_bees_are_written_as_bees() -> None:
    for block in (b"hello", b"\x0a\x05other", None):
        with pytest.raises(InvalidContent):
            BeeWriter(MemorySource([block]))


def test_a_bee_is_only_written_where_it_is_stored() -> None:
    log = bee_with(*numbered(40))
    log.blocks[10] = None
    with pytest.raises(BlockNotAvailable):
        for key in numbered(40):
            BeeWriter(log).put(key, b"")


def test_a_batch_reads_its_own_writes() -> None:
    log = bee_with(b"a", b"b")
    with BeeWriter(log).batch() as batch:
        assert batch.get(b"a") == (1, b"a", b"va")
        batch.put(b"a", b"new")
        batch.delete(b"b")
        assert batch.get(b"a") == (3, b"a", b"new")
        assert batch.get(b"b") is None
        assert batch.get(b"c") is None
