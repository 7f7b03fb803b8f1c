"""Reading bees: against a sorted list, across versions, and when a peer made them to hurt."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.bee import Bee, BeeEntry, Change
from hypercore.bee.bee import end_of_prefix
from hypercore.bee.cache import OVERHEAD, BlockCache
from hypercore.bee.messages import MAX_DEPTH, Child, Header, TreeNode, encode_block
from hypercore.bee.writer import BeeWriter
from hypercore.blocks import MemorySource
from hypercore.errors import (
    BlockNotAvailable,
    InvalidContent,
    LocalProtocolError,
    RemoteProtocolError,
    SnapshotNotAvailable,
)
from support.content import RemoteSource, bee_of, bee_with, collect, listed, numbered, run
from support.examples import examples

KEYS = st.binary(max_size=3) | st.sampled_from([b"a", b"b", b"ab", b"a\0", b"a\xff"])
OPS = st.lists(st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=4)), max_size=12), max_size=25)

HEADER = Header().encode()


@given(OPS, st.data())
def test_versions_and_ranges_are_those_of_a_sorted_list(
    batches: list[list[tuple[bytes, bytes | None]]], data: st.DataObject
) -> None:
    log, model = MemorySource(), dict[bytes, BeeEntry]()
    writer = BeeWriter(log)
    versions = {1: dict(model)}
    for ops in batches:
        with writer.batch() as batch:
            for key, value in ops:
                if value is None:
                    assert batch.delete(key) == (model.pop(key, None) is not None)
                else:
                    model[key] = BeeEntry(batch.put(key, value), key, value)
                assert batch.get(key) == model.get(key)
        versions[max(1, log.length)] = dict(model)
    bee = Bee(log)
    for version, expected in versions.items():
        entries = [expected[key] for key in sorted(expected)]
        view = bee.checkout(version)
        assert listed(view.iterate()) == entries
        assert listed(view.iterate(reverse=True)) == entries[::-1]
    low, high = data.draw(st.none() | KEYS), data.draw(st.none() | KEYS)
    low_name, high_name = data.draw(st.sampled_from(["gt", "gte"])), data.draw(st.sampled_from(["lt", "lte"]))
    reverse, limit = data.draw(st.booleans()), data.draw(st.none() | st.integers(0, 12))
    found = listed(bee.iterate(**{low_name: low, high_name: high}, reverse=reverse, limit=limit))
    expected_keys = [
        key
        for key in sorted(model, reverse=reverse)
        if (low is None or key > low or (key == low and low_name == "gte"))
        and (high is None or key < high or (key == high and high_name == "lte"))
    ]
    assert [entry.key for entry in found] == expected_keys[:limit]
    for key in {key for ops in batches for key, _ in ops}:
        assert run(bee.get(key)) == model.get(key)


@given(st.dictionaries(st.binary(max_size=3), st.binary(max_size=2)), st.binary(max_size=2))
def test_a_sub_database_is_cut_out_of_the_whole(items: dict[bytes, bytes], name: bytes) -> None:
    log = MemorySource()
    for key, value in items.items():
        BeeWriter(log).put(key, value)
    sub = Bee(log).sub(name)
    prefix = name + b"\0"
    expected = {key[len(prefix) :]: value for key, value in items.items() if key.startswith(prefix)}
    assert [(e.key, e.value) for e in listed(sub.iterate())] == sorted(expected.items())
    assert [e.key for e in listed(sub.iterate(reverse=True))] == sorted(expected, reverse=True)
    assert all((entry := run(sub.get(key))) and entry.value == expected[key] for key in expected)


def test_subs_nest_and_may_have_a_separator_of_their_own() -> None:
    log = MemorySource()
    writer = BeeWriter(log)
    writer.sub("a").sub("b").put(b"x", b"1")
    writer.sub("a", separator=b"/").put(b"y", b"2")
    bee = Bee(log)
    assert listed(bee.sub("a").sub("b").iterate()) == [(1, b"x", b"1")]
    assert listed(bee.sub("a", separator=b"/").iterate()) == [(2, b"y", b"2")]
    assert listed(bee.sub("a").iterate(gt=b"b")) == [(1, b"b\0x", b"1")]


def test_the_end_of_a_prefix_is_the_first_key_behind_it() -> None:
    assert end_of_prefix(b"a\0") == b"a\1"
    assert end_of_prefix(b"a\xff\xff") == b"b"
    assert end_of_prefix(b"\xff") is None


def test_bounds_of_both_kinds_on_one_side_are_refused() -> None:
    bee = Bee(bee_with(b"a"))
    for bounds in ({"gt": b"a", "gte": b"a"}, {"lt": b"a", "lte": b"a"}):
        with pytest.raises(LocalProtocolError):
            listed(bee.iterate(**bounds))  # type: ignore[arg-type]


def test_an_empty_core_and_a_lone_header_are_empty_bees() -> None:
    for blocks in ([], [HEADER]):
        bee = bee_of(blocks)
        assert bee.version == 1
        assert listed(bee.iterate()) == []
        assert run(bee.get(b"a")) is None
    assert run(bee_of([HEADER]).header()).protocol == "hyperbee"


def test_an_empty_source_is_asked_for_news_once() -> None:
    class Late(MemorySource):
        async def update(self) -> bool:
            self.blocks = bee_with(b"a").blocks
            return True

    assert [e.key for e in listed(Bee(Late()).iterate())] == [b"a"]


def test_a_core_that_is_no_bee_is_called_one_when_its_header_is_read() -> None:
    for block in (b"", b"hello world", b"\x0a\x05other", b"\xff" * 20):
        with pytest.raises(InvalidContent):
            run(bee_of([block]).header())


def test_checkouts_follow_only_when_they_are_not_pinned() -> None:
    log = bee_with(b"a")
    bee, snapshot = Bee(log), Bee(log).snapshot()
    BeeWriter(log).put(b"b", b"")
    assert (bee.version, snapshot.version) == (3, 2)
    assert [e.key for e in listed(bee.iterate())] == [b"a", b"b"]
    assert [e.key for e in listed(snapshot.iterate())] == [b"a"]
    assert bee.checkout(0).version == 1
    with pytest.raises(LocalProtocolError):
        bee.checkout(-1)


def test_the_inside_of_a_batch_is_no_version() -> None:
    with pytest.raises(InvalidContent, match="0 tree nodes"):
        listed(Bee(bee_with(b"a", b"b", b"c")).checkout(3).iterate())


def test_history_distinguishes_puts_from_deletions() -> None:
    log = MemorySource()
    writer = BeeWriter(log)
    writer.put(b"a", None)
    writer.sub("s").put(b"x", b"1")
    writer.delete(b"a")
    writer.sub("s").delete(b"x")
    bee = Bee(log)
    assert listed(bee.history()) == [
        Change(1, b"a", None, False),
        Change(2, b"s\0x", b"1", False),
        Change(3, b"a", None, True),
        Change(4, b"s\0x", None, True),
    ]
    assert listed(bee.sub("s").history(since=3)) == [Change(4, b"x", None, True)]
    assert listed(bee.checkout(3).history(since=2)) == [Change(2, b"s\0x", b"1", False)]


# --- the core changes underneath


def test_a_truncation_during_an_iteration_ends_it() -> None:
    log = bee_with(*numbered(40))

    async def read() -> None:
        async for entry in Bee(log).iterate():
            if entry.key == b"00010":
                log.truncate(5)

    with pytest.raises(SnapshotNotAvailable):
        run(read())


def test_a_truncation_while_a_block_travels_is_noticed() -> None:
    source = RemoteSource(bee_with(*numbered(40)).blocks)
    coroutine = Bee(source).get(b"00039")
    coroutine.send(None)
    source.fork += 1
    with pytest.raises(SnapshotNotAvailable):
        source.travel(coroutine)


def test_nothing_of_another_fork_is_remembered() -> None:
    log = bee_with(b"a", b"b")
    bee = Bee(log)
    assert [e.value for e in listed(bee.iterate())] == [b"va", b"vb"]
    log.truncate(1)
    with BeeWriter(log).batch() as batch:
        batch.put(b"a", b"new")
        batch.put(b"c", b"newer")
    assert [e.value for e in listed(bee.iterate())] == [b"new", b"newer"]


def test_the_cache_is_bounded_by_bytes() -> None:
    log = bee_with(*numbered(50))
    cache = BlockCache(log, max_bytes=6000)
    for seq in range(1, 51):
        run(cache.get(seq))
    kept = [block for seq in range(1, 51) if (block := cache.cached(seq))]
    assert [block.seq for block in kept] == list(range(51 - len(kept), 51))
    assert 6000 - 2 * OVERHEAD < sum(block.size + OVERHEAD for block in kept) <= 6000


def test_a_block_larger_than_the_cache_is_still_read() -> None:
    log = MemorySource()
    BeeWriter(log).put(b"large", bytes(1 << 16))
    assert run(BlockCache(log, max_bytes=100).get(1)).key == b"large"


def test_a_block_that_is_not_here_is_not_available() -> None:
    log = bee_with(*numbered(40))
    log.blocks[7] = None
    bee = Bee(log)
    with pytest.raises(BlockNotAvailable):
        listed(bee.iterate())
    assert run(bee.get(b"00020")) is not None


# --- bees made to hurt


def hostile(*nodes: list[TreeNode]) -> Bee:
    """A bee of which block i + 1 holds the key `i` and these tree nodes."""
    return bee_of([HEADER, *(encode_block(b"%04d" % i, b"", listed) for i, listed in enumerate(nodes))])


def refused(bee: Bee) -> None:
    for reverse in (False, True):
        with pytest.raises(InvalidContent):
            listed(bee.iterate(reverse=reverse))


def test_a_node_that_is_its_own_child_does_not_loop() -> None:
    refused(hostile([TreeNode([1], [Child(1, 0), Child(1, 0)])]))
    with pytest.raises(InvalidContent):
        run(hostile([TreeNode([1], [Child(1, 0), Child(1, 0)])]).get(b"zzz"))


def test_a_chain_of_nodes_without_keys_does_not_loop() -> None:
    refused(hostile([TreeNode([], [Child(1, 0)])]))


def test_a_cycle_through_two_nodes_does_not_loop() -> None:
    wide = [
        TreeNode([], []),
        TreeNode([1], [Child(1, 2), Child(1, 2)]),
        TreeNode([1], [Child(1, 1), Child(1, 1)]),
    ]
    refused(hostile(wide, [TreeNode([1, 2], [Child(1, 1), Child(1, 0), Child(1, 0)])]))


def test_a_subtree_used_twice_is_noticed_at_its_first_key() -> None:
    leaf = [TreeNode([1], [])]
    refused(hostile(leaf, [TreeNode([2], [Child(1, 0), Child(1, 0)])]))


def test_keys_out_of_order_are_noticed() -> None:
    refused(hostile([TreeNode([], [])], [TreeNode([2, 1], [])]))
    refused(hostile([TreeNode([], [])], [TreeNode([1, 2, 2], [])]))


def test_trees_are_bounded_in_depth() -> None:
    def chain(depth: int) -> Bee:
        nodes = [TreeNode([], [Child(1, i + 1)]) for i in range(depth - 1)] + [TreeNode([1], [])]
        return hostile(nodes)

    assert [e.seq for e in listed(chain(MAX_DEPTH).iterate())] == [1]
    assert run(chain(MAX_DEPTH).get(b"0000")) is not None
    refused(chain(MAX_DEPTH + 1))
    with pytest.raises(InvalidContent, match="nodes deep"):
        run(chain(MAX_DEPTH + 1).get(b"0000"))


@given(st.data())
@settings(max_examples=examples(300))
def test_damaged_blocks_raise_only_what_readers_expect(data: st.DataObject) -> None:
    blocks: list[Any] = bee_with(*numbered(60)).blocks
    for _ in range(data.draw(st.integers(1, 4))):
        seq = data.draw(st.integers(0, 60))
        damaged = bytearray(blocks[seq])
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        blocks[seq] = bytes(damaged) + data.draw(st.binary(max_size=3))
    bee = bee_of(blocks)
    reads = [
        collect(bee.iterate()),
        collect(bee.iterate(reverse=True, gt=b"0001", lt=b"0004")),
        bee.get(b"00030"),
        bee.header(),
        collect(bee.history()),
    ]
    for read in reads:
        with suppress(RemoteProtocolError):
            run(read)
