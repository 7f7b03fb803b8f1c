"""Downloads, forks, writing, clearing: what they do to a core and what listeners hear."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.codec import Reader, Writer
from hypercore.core import MAX_BLOCK_BYTES, MAX_CORE_BYTES, Change, Core, memory_store
from hypercore.crypto import KeyPair
from hypercore.errors import (
    InvalidChecksum,
    InvalidProof,
    InvalidSignature,
    LocalProtocolError,
    RemoteProtocolError,
    VerificationError,
)
from hypercore.manifest import Manifest, Prologue
from hypercore.merkle.batch import TreeBatch
from hypercore.merkle.hashing import leaf_node
from hypercore.merkle.head import TreeHead
from hypercore.merkle.signing import sign_head
from hypercore.node import Node
from hypercore.testing.cores import (
    download,
    fetch_block,
    fetch_upgrade,
    follow_fork,
    make_writer,
    sample_blocks,
)
from hypercore.wire.data import Data, DataUpgrade
from hypercore.wire.request import Request, RequestUpgrade
from support.core_places import Place, contents, whole
from support.examples import examples

LARGE = [bytes([n]) * 65536 for n in range(40)]


def heard(core: Core) -> list[Change]:
    changes: list[Change] = []
    core.add_listener(changes.append)
    return changes


def reader_of(place: Place, source: Core) -> Core:
    core = place.store.open_core(source.key)
    assert core is not None
    return core


# --- downloading


def test_listeners_hear_of_upgrades_blocks_and_the_manifest(place: Place) -> None:
    source = make_writer(sample_blocks(10)).core
    core = reader_of(place, source)
    changes = heard(core)
    assert core.apply(fetch_upgrade(source, core)) == Change(upgraded=True, manifest=True)
    assert core.apply(fetch_block(source, core, 4)) == Change(block=4)
    assert changes == [Change(upgraded=True, manifest=True), Change(block=4)]


def test_a_block_comes_along_with_the_upgrade_that_contains_it(place: Place) -> None:
    source = make_writer(sample_blocks(10)).core
    core = reader_of(place, source)
    change = core.apply(fetch_upgrade(source, core, block=9))
    assert change == Change(upgraded=True, manifest=True, block=9)
    assert core.get(9) == sample_blocks(10)[9]


def test_a_block_that_is_here_already_is_no_change(place: Place) -> None:
    source = make_writer(sample_blocks(10)).core
    core = reader_of(place, source)
    download(source, core, [4])
    place.store.flush()
    changes = heard(core)
    assert core.apply(fetch_block(source, core, 4)) == Change()
    assert changes == []
    assert not place.store.dirty


def corruptions(data: Data) -> list[Data]:
    """The answer with one thing wrong in it, in every place that is checked."""
    bad: list[Data] = []
    if (block := data.block) is not None:
        bad.append(replace(data, block=block._replace(value=block.value + b"!")))
        bad.append(replace(data, block=block._replace(index=block.index + 1)))
        for at, node in enumerate(block.nodes):
            nodes = [*block.nodes[:at], node._replace(hash=bytes(32)), *block.nodes[at + 1 :]]
            bad.append(replace(data, block=block._replace(nodes=nodes)))
    if (upgrade := data.upgrade) is not None:
        assert upgrade.signature is not None
        flipped = upgrade.signature[:40] + bytes([upgrade.signature[40] ^ 1]) + upgrade.signature[41:]
        bad.append(replace(data, upgrade=upgrade._replace(signature=flipped)))
        bad.append(replace(data, upgrade=upgrade._replace(signature=None)))
        for at, node in enumerate(upgrade.nodes):
            nodes = [
                *upgrade.nodes[:at],
                Node(node.index, node.size + 1, node.hash),
                *upgrade.nodes[at + 1 :],
            ]
            bad.append(replace(data, upgrade=upgrade._replace(nodes=nodes)))
    bad.append(replace(data, fork=data.fork + 1))
    return bad


def test_data_that_does_not_verify_changes_nothing(place: Place) -> None:
    writer = make_writer(sample_blocks(21))
    core = reader_of(place, writer.core)
    download(writer.core, core, [3, 20])
    writer.append(*sample_blocks(10, 21))
    place.store.flush()
    before, head = contents(core), core.head
    changes = heard(core)
    answers = [fetch_block(writer.core, core, 8), fetch_upgrade(writer.core, core, block=30)]
    for data in [bad for answer in answers for bad in corruptions(answer)]:
        with pytest.raises(VerificationError):
            core.apply(data)
    assert (contents(core), core.head, changes, place.store.dirty) == (before, head, [], False)
    for data in answers:
        core.apply(data)
    assert core.has(8) and core.has(30)


@settings(max_examples=examples(300), deadline=None)
@given(
    which=st.integers(0, 3),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=3),
    cut=st.integers(0, 40),
)
def test_garbled_answers_raise_only_what_peers_may_cause(
    which: int, edits: list[tuple[int, int]], cut: int
) -> None:
    writer = make_writer(sample_blocks(21))
    store = memory_store()
    core = store.open_core(writer.core.key)
    assert core is not None
    first = fetch_upgrade(writer.core, core, block=20)
    core.apply(first)
    core.apply(fetch_block(writer.core, core, 3))
    writer.append(*sample_blocks(10, 21))
    whole_tree = Request(id=1, fork=0, upgrade=RequestUpgrade(0, 31), manifest=True)
    answers = [first, fetch_block(writer.core, core, 8), fetch_upgrade(writer.core, core, block=30)]
    answers.append(writer.core.prove(whole_tree))
    w = Writer()
    answers[which].encode(w)
    message = bytearray(bytes(w)[: len(w) - cut])
    for at, byte in edits:
        message[at % len(message)] = byte
    with contextlib.suppress(RemoteProtocolError):
        data = Data.decode(Reader(message))
        core.apply(data)
    assert core.length in (21, 31)
    assert core.check_head()
    assert all(sound and core.get(index) == writer.core.get(index) for index, sound in core.verify())


def test_wrong_blocks_are_found_by_checksum_and_wrong_heads_by_signature(place: Place) -> None:
    source = make_writer(sample_blocks(8)).core
    core = reader_of(place, source)
    upgrade = fetch_upgrade(source, core)
    with pytest.raises(InvalidSignature):
        core.apply(replace(upgrade, manifest=Manifest.default(bytes(32))))
    core.apply(upgrade)
    block = fetch_block(source, core, 0)
    assert block.block is not None
    with pytest.raises(InvalidChecksum):
        core.apply(replace(block, block=block.block._replace(value=b"?")))


def test_a_core_larger_than_any_file_can_be_is_refused(place: Place) -> None:
    keys = KeyPair.from_seed(bytes(32))
    manifest = Manifest.default(keys.public_key)
    core = place.store.open_core(manifest.key())
    assert core is not None
    batch = TreeBatch(fork=0)
    batch.append_root(Node(0, MAX_CORE_BYTES + 1, bytes(32)))
    signature = sign_head(manifest, core.key, batch, keys)
    upgrade = DataUpgrade(0, 1, list(batch.roots), [], signature)
    with pytest.raises(InvalidProof, match="bytes"):
        core.apply(Data(request=1, fork=0, upgrade=upgrade, manifest=manifest))
    assert core.length == 0
    assert core.manifest is None


# --- forks


@pytest.mark.parametrize("flush_between", [False, True])
@pytest.mark.parametrize("length", [0, 1, 8, 13, 37, 40])
@pytest.mark.parametrize("blocks", [sample_blocks(40), LARGE], ids=["small", "large"])
def test_a_truncated_and_regrown_core_is_followed(
    place: Place, blocks: list[bytes], length: int, flush_between: bool
) -> None:
    writer = make_writer(blocks)
    core = reader_of(place, writer.core)
    download(writer.core, core)
    if flush_between:
        place.store.flush()
    new = [block[::-1] + b"new" for block in blocks[: 45 - length]]
    writer.truncate(length)
    writer.append(*new)
    changes = heard(core)
    follow_fork(writer.core, core)
    assert changes == [Change(upgraded=True, truncated_to=length)]
    assert contents(core) == dict(enumerate(blocks[:length]))
    download(writer.core, core)
    assert whole(core) == blocks[:length] + new
    place.restart()
    core = place.core(writer.core.key)
    assert (core.fork, core.head) == (1, writer.core.head)
    assert whole(core) == blocks[:length] + new
    assert all(core.node(index) == writer.core.node(index) for index in range(2 * core.length))


def test_a_partial_core_keeps_what_both_forks_share(place: Place) -> None:
    blocks = sample_blocks(64)
    writer = make_writer(blocks)
    core = reader_of(place, writer.core)
    download(writer.core, core, [0, 7, 20, 40, 41, 63])
    writer.truncate(41)
    writer.append(*sample_blocks(30, 500))
    follow_fork(writer.core, core)
    assert set(contents(core)) <= {0, 7, 20, 40}
    assert {0, 7, 20} <= set(contents(core))
    place.restart()
    core = place.core(writer.core.key)
    download(writer.core, core)
    assert whole(core) == blocks[:41] + sample_blocks(30, 500)


def test_a_crash_between_fork_and_flush_leaves_the_old_fork_whole(place: Place) -> None:
    writer = make_writer(LARGE)
    core = reader_of(place, writer.core)
    download(writer.core, core)
    place.store.flush()
    writer.truncate(10)
    writer.append(*LARGE[:5])
    download(writer.core, core)
    assert core.fork == 1
    place.crash()
    core = place.core(writer.core.key)
    assert core.fork == 0
    assert whole(core) == LARGE


def test_a_lower_or_equal_fork_is_not_followed(place: Place) -> None:
    writer = make_writer(sample_blocks(8))
    core = reader_of(place, writer.core)
    download(writer.core, core)
    whole_tree = Request(id=1, fork=0, upgrade=RequestUpgrade(0, 8))
    old = writer.core.prove(whole_tree)
    with pytest.raises(InvalidProof):
        core.start_reorg(old)
    writer.truncate(4)
    writer.append(b"other")
    newer = writer.core.prove(Request(id=1, fork=1, upgrade=RequestUpgrade(0, 5)))
    first, second = core.start_reorg(newer), core.start_reorg(newer)
    core.apply_reorg(first)
    with pytest.raises(LocalProtocolError):
        core.apply_reorg(second)


def test_an_empty_core_adopts_a_fork(place: Place) -> None:
    writer = make_writer(sample_blocks(8))
    writer.truncate(3)
    core = reader_of(place, writer.core)
    download(writer.core, core)
    assert (core.fork, whole(core)) == (1, sample_blocks(3))
    assert core.manifest == writer.core.manifest


# --- writing


def test_appending_notifies_listeners_and_signs(place: Place) -> None:
    writer = make_writer(store=place.store)
    changes = heard(writer.core)
    writer.core.append([b"a", b"b"], writer.key_pair)
    writer.core.append([], writer.key_pair)
    writer.core.append([b"c"], writer.key_pair)
    assert changes == [Change(upgraded=True, appended=(0, 2)), Change(upgraded=True, appended=(2, 3))]
    assert writer.core.check_head()
    assert writer.core.byte_length == 3


def test_a_peer_cannot_append_or_truncate(place: Place) -> None:
    writer = make_writer([b"a", b"b"], store=place.store)
    peer = KeyPair.from_seed(bytes(32))
    with pytest.raises(LocalProtocolError):
        writer.core.append([b"x"], peer)
    with pytest.raises(LocalProtocolError):
        writer.core.truncate(1, peer)
    assert whole(writer.core) == [b"a", b"b"]
    assert not place.store.dirty


def test_a_block_above_the_limit_is_not_appended(place: Place) -> None:
    writer = make_writer(store=place.store)
    with pytest.raises(LocalProtocolError):
        writer.core.append([b"a", bytes(MAX_BLOCK_BYTES + 1)], writer.key_pair)
    assert writer.core.length == 0


def test_truncation_is_checked(place: Place) -> None:
    writer = make_writer(sample_blocks(4), store=place.store)
    for length, fork in ((5, None), (-1, None), (2, 0)):
        with pytest.raises(LocalProtocolError):
            writer.core.truncate(length, writer.key_pair, fork)
    writer.core.truncate(4, writer.key_pair, 9)
    assert (writer.core.fork, whole(writer.core)) == (9, sample_blocks(4))
    assert writer.core.check_head()


@pytest.mark.parametrize("length", range(9))
def test_a_writer_goes_on_after_truncating(place: Place, length: int) -> None:
    blocks = sample_blocks(8)
    writer = make_writer(blocks, store=place.store)
    writer.core.truncate(length, writer.key_pair)
    writer.core.append([b"new", b"er"], writer.key_pair)
    assert whole(writer.core) == [*blocks[:length], b"new", b"er"]
    place.restart()
    core = place.core(writer.core.key)
    assert whole(core) == [*blocks[:length], b"new", b"er"]
    assert core.check_head()
    assert core.node(2 * core.length) is None
    assert core.byte_length == sum(map(len, whole(core)))


def test_a_static_core_needs_no_signature_within_its_prologue(place: Place) -> None:
    blocks = sample_blocks(5)
    batch = TreeBatch(fork=0)
    for index, block in enumerate(blocks):
        batch.append_root(leaf_node(index, block), claimed=False)
    manifest = Manifest.create((), prologue=Prologue(batch.hash(), 5))
    keys = KeyPair.from_seed(bytes(32))
    core = place.store.create_core(keys, manifest=manifest)
    core.append(blocks, keys)
    assert core.signature is None
    assert core.check_head()
    place.restart()
    reader = make_writer().store.open_core(core.key)
    assert reader is not None
    download(place.core(core.key), reader)
    assert whole(reader) == blocks
    with pytest.raises(LocalProtocolError):
        core.append([b"more"], keys)


def test_only_the_manifest_of_the_core_can_be_set(place: Place) -> None:
    writer = make_writer()
    core = place.store.open_core(writer.core.key)
    assert core is not None and writer.core.manifest is not None
    with pytest.raises(LocalProtocolError):
        core.set_manifest(Manifest.default(bytes(32)))
    core.set_manifest(writer.core.manifest)
    place.restart()
    assert place.core(writer.core.key).has_manifest


# --- clearing


@pytest.mark.parametrize("blocks", [sample_blocks(40), LARGE], ids=["small", "large"])
def test_cleared_blocks_are_gone_and_can_be_fetched_again(place: Place, blocks: list[bytes]) -> None:
    source = make_writer(blocks).core
    core = reader_of(place, source)
    download(source, core)
    place.store.flush()
    changes = heard(core)
    assert core.clear(5, 30) == Change(lost=(5, 30))
    assert core.clear(5, 30) == Change()
    assert changes == [Change(lost=(5, 30))]
    assert core.get(5) is None
    assert core.contiguous_length == 5
    place.restart()
    core = place.core(source.key)
    kept = {index: block for index, block in enumerate(blocks) if not 5 <= index < 30}
    assert contents(core) == kept
    assert core.missing_nodes(10) == 0
    core.apply(fetch_block(source, core, 10))
    place.restart()
    core = place.core(source.key)
    assert contents(core) == kept | {10: blocks[10]}
    download(source, core)
    assert whole(core) == blocks


def test_clearing_before_the_flush_takes_the_block_out_of_it(place: Place) -> None:
    source = make_writer(sample_blocks(10)).core
    core = reader_of(place, source)
    download(source, core)
    core.clear(3, 5)
    [(flushed, runs)] = place.store.flush()
    assert flushed is core
    assert runs == [(0, 3), (5, 10)]
    assert place.store.dirty_bytes == 0


def test_clear_without_an_end_clears_the_rest(place: Place) -> None:
    core = make_writer(sample_blocks(10), store=place.store).core
    assert core.clear(4) == Change(lost=(4, 10))
    assert core.length == 10
    place.restart()
    assert contents(place.core(core.key)) == dict(enumerate(sample_blocks(4)))


def test_heads_are_equal_by_value(place: Place) -> None:
    core = make_writer([b"a"], store=place.store).core
    head = TreeHead(fork=0, length=1, byte_length=1, roots=(leaf_node(0, b"a"),), signature=core.signature)
    assert core.head == head
