"""Following a writer onto another fork: how much of the old tree survives."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.errors import InvalidChecksum, InvalidProof, InvalidSignature
from hypercore.merkle import flat_tree
from hypercore.merkle.head import TreeHead
from hypercore.merkle.reorg import Reorg
from hypercore.wire.data import DataHash
from hypercore.wire.request import RequestBlock, RequestUpgrade
from support.merkle_trees import Publisher, ReaderCore, make_block, make_blocks


def start(old: ReaderCore, new: Publisher) -> Reorg:
    return Reorg.start(new.whole(), old.head, old.nodes, old.key, old.manifest)


def refine(reorg: Reorg, new: Publisher) -> int:
    """Answer everything it asks for; returns how often that was."""
    rounds = 0
    while (request := reorg.request()) is not None:
        before = reorg.ancestors
        reorg.add_answer(new.ask(hash=request))
        assert reorg.ancestors >= before
        rounds += 1
    assert reorg.done
    return rounds


def adopt(old: ReaderCore, reorg: Reorg) -> ReaderCore:
    """What applying a reorg comes down to."""
    cut = 2 * reorg.ancestors
    nodes = {i: node for i, node in old.nodes.items() if flat_tree.right_span(i) < cut}
    nodes |= {node.index: node for node in reorg.new_nodes}
    blocks = {i: block for i, block in old.blocks.items() if i < reorg.ancestors}
    return ReaderCore(old.key, reorg.head, nodes, reorg.manifest or old.manifest, blocks)


def full_reader(source: Publisher) -> ReaderCore:
    return ReaderCore(
        source.key, source.head, dict(source.nodes), source.manifest, dict(enumerate(source.blocks))
    )


def check_adopted(reader: ReaderCore, new: Publisher) -> None:
    """It holds only what is true of the new tree, can serve what it holds, and can get the rest."""
    assert reader.head == new.head
    assert reader.nodes.items() <= new.nodes.items()
    for index, block in reader.blocks.items():
        assert block == new.blocks[index]
        assert reader.block_request(index).nodes == 0
        at = 2 * index
        while at not in {root.index for root in new.head.roots}:
            assert flat_tree.sibling(at) in reader.nodes
            at = flat_tree.parent(at)
    for index in range(new.head.length):
        if index not in reader.blocks:
            reader.apply(new.ask(block=reader.block_request(index)))
    assert reader.nodes == new.nodes


@given(st.integers(1, 70), st.data())
def test_the_common_part_is_found_exactly(length: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, length))
    appended = [b"new %d" % i for i in range(data.draw(st.integers(0, 40)))]
    if not kept and not appended:
        appended = [b"new"]
    source = Publisher(make_blocks(length))
    new = source.truncated(kept, appended)
    old = full_reader(source)
    reorg = start(old, new)
    assert reorg.ancestors <= kept
    rounds = refine(reorg, new)
    assert reorg.ancestors == kept
    assert rounds <= length.bit_length()
    check_adopted(adopt(old, reorg), new)


@given(st.integers(1, 70), st.data())
def test_a_reorg_may_be_adopted_unrefined(length: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, length))
    source = Publisher(make_blocks(length))
    new = source.truncated(kept, [b"new"])
    old = full_reader(source)
    check_adopted(adopt(old, start(old, new)), new)


@given(st.integers(2, 60), st.data())
def test_a_sparse_reader_keeps_no_more_than_is_common(length: int, data: st.DataObject) -> None:
    source = Publisher(make_blocks(length))
    old = ReaderCore(source.key)
    old.apply(source.whole())
    for index in data.draw(st.lists(st.integers(0, length - 1), max_size=6)):
        old.apply(source.ask(block=old.block_request(index)))
    kept = data.draw(st.integers(1, length))
    new = source.truncated(kept, [b"new %d" % i for i in range(data.draw(st.integers(0, 20)))])
    reorg = start(old, new)
    refine(reorg, new)
    assert reorg.ancestors <= kept
    adopted = adopt(old, reorg)
    assert adopted.nodes.items() <= new.nodes.items()
    check_adopted(adopted, new)


def test_a_truncation_alone_needs_no_refinement() -> None:
    source = Publisher(make_blocks(24))
    reorg = start(full_reader(source), source.truncated(10))
    assert reorg.done and reorg.ancestors == 10
    assert reorg.request() is None
    assert reorg.head.fork == 1


def test_cutting_a_little_off_the_end_takes_one_question() -> None:
    source = Publisher(make_blocks(64))
    new = source.truncated(63, [b"x"])
    reorg = start(full_reader(source), new)
    assert not reorg.done
    assert refine(reorg, new) == 1
    assert reorg.ancestors == 63


def test_an_empty_reader_adopts_a_fork_as_it_is() -> None:
    new = Publisher(make_blocks(24)).truncated(10, make_blocks(30, start=90))
    reader = ReaderCore(new.key)
    reorg = start(reader, new)
    assert reorg.done and reorg.ancestors == 0
    assert reorg.manifest == new.manifest
    check_adopted(adopt(reader, reorg), new)


def test_a_block_beside_the_tree_refines_at_once() -> None:
    source = Publisher(make_blocks(64))
    new = source.truncated(63, [b"x"])
    data = new.ask(upgrade=RequestUpgrade(0, 64), block=RequestBlock(63, 0))
    old = full_reader(source)
    reorg = Reorg.start(data, old.head, old.nodes, old.key, old.manifest)
    assert reorg.done and reorg.ancestors == 63


def test_a_reorg_needs_a_higher_fork_a_tree_and_a_signature() -> None:
    source = Publisher(make_blocks(8))
    new = source.truncated(4, [b"x"])
    old = full_reader(source)
    arguments = (old.head, old.nodes, old.key, old.manifest)
    with pytest.raises(InvalidProof, match="fork"):
        Reorg.start(source.whole(), *arguments)
    with pytest.raises(InvalidProof, match="no tree"):
        Reorg.start(new.ask(block=RequestBlock(0, 0)), *arguments)
    whole = new.whole()
    assert whole.upgrade is not None
    with pytest.raises(InvalidSignature):
        Reorg.start(replace(whole, fork=2), *arguments)
    with pytest.raises(InvalidSignature):
        Reorg.start(replace(whole, upgrade=whole.upgrade._replace(signature=None)), *arguments)


def test_a_bad_answer_to_a_refinement_changes_nothing() -> None:
    source = Publisher(make_blocks(64))
    new = source.truncated(20, [b"x"] * 44)
    old = full_reader(source)
    reorg = start(old, new)
    request = reorg.request()
    assert request is not None
    good = new.ask(hash=request)
    assert good.hash is not None
    nodes = good.hash.nodes
    bent = nodes[0]._replace(hash=bytes(32))
    for bad, error in (
        (replace(good, fork=0), InvalidProof),
        (replace(good, hash=None), InvalidProof),
        (replace(good, hash=DataHash(0, [new.nodes[0]])), InvalidProof),
        (replace(good, hash=good.hash._replace(nodes=nodes[:-1])), InvalidProof),
        (replace(good, hash=good.hash._replace(nodes=[bent, *nodes[1:]])), InvalidChecksum),
        (replace(good, hash=DataHash(63, [new.nodes[63]])), InvalidProof),
        (source.ask(hash=request), InvalidProof),
    ):
        before = (reorg.ancestors, reorg.request(), list(reorg.new_nodes))
        with pytest.raises(error):
            reorg.add_answer(bad)
        assert (reorg.ancestors, reorg.request(), reorg.new_nodes) == before
    refine(reorg, new)
    assert reorg.ancestors == 20


def test_a_finished_reorg_ignores_late_answers() -> None:
    source = Publisher(make_blocks(8))
    reorg = start(full_reader(source), source.truncated(4))
    nodes = list(reorg.new_nodes)
    reorg.add_answer(source.whole())
    assert reorg.new_nodes == nodes


def test_a_refinement_cannot_bring_false_sizes_into_the_store() -> None:
    source = Publisher(make_blocks(64))
    new = source.truncated(20, [make_block(i) for i in range(70, 114)])
    reorg = start(full_reader(source), new)
    while (request := reorg.request()) is not None:
        data = new.ask(hash=request)
        assert data.hash is not None
        first, second, *others = data.hash.nodes
        forged = [first._replace(size=first.size + 1), second._replace(size=second.size - 1), *others]
        try:
            reorg.add_answer(replace(data, hash=data.hash._replace(nodes=forged)))
        except InvalidChecksum:  # one of them is shared with the old tree, so its size is known
            reorg.add_answer(data)
    assert reorg.ancestors == 20
    assert all(new.nodes[node.index] == node for node in reorg.new_nodes)


def test_the_old_head_may_be_empty_but_on_a_fork() -> None:
    new = Publisher(make_blocks(3), fork=7)
    reader = ReaderCore(new.key, TreeHead(fork=6))
    assert start(reader, new).ancestors == 0
