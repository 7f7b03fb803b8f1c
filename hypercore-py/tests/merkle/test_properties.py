"""Random trees: what is properly asked for is proven, and no changed bit gets anything false accepted."""

from __future__ import annotations

import contextlib
import random
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hypercore.codec import Reader
from hypercore.errors import BlockNotAvailable, InvalidRequest, RemoteProtocolError
from hypercore.merkle.proof import create_proof
from hypercore.merkle.reorg import Reorg
from hypercore.merkle.signing import verify_head
from hypercore.wire.data import Data
from hypercore.wire.request import Request, RequestBlock, RequestHash, RequestSeek, RequestUpgrade
from support.examples import examples
from support.merkle_trees import Publisher, ReaderCore, decode, encode, make_blocks, same_tree

pytestmark = pytest.mark.slow


@cache
def publisher(length: int) -> Publisher:
    return Publisher(make_blocks(length))


@st.composite
def readers(draw: st.DrawFn, *, limit: int = 40) -> tuple[Publisher, ReaderCore]:
    """A publisher, and a peer that has an older head of it and some of its blocks."""
    length = draw(st.integers(1, limit))
    known = draw(st.integers(0, length))
    reader = ReaderCore(publisher(length).key)
    if known:
        older = publisher(known)
        reader.apply(older.whole())
        for index in draw(st.lists(st.integers(0, known - 1), max_size=4)):
            reader.apply(older.ask(block=reader.block_request(index)))
    return publisher(length), reader


@st.composite
def proper_requests(draw: st.DrawFn, source: Publisher, reader: ReaderCore) -> Request:
    """What a reader in that state may ask for, as the official one does."""
    known, length = reader.head.length, source.head.length
    upgrade = None
    if known < length and (known == 0 or draw(st.booleans())):
        upgrade = RequestUpgrade(known, draw(st.integers(1, length - known)))
    reach = upgrade.start + upgrade.length if upgrade else known
    block = node = seek = None
    kind = draw(st.sampled_from(["block", "hash", "seek", "none"]))
    if kind == "block":
        block = reader.block_request(draw(st.integers(0, reach - 1)))
    elif kind == "hash" and known:
        index = draw(st.integers(0, known - 1))
        node = RequestHash(2 * index, reader.block_request(index).nodes)
    elif kind == "seek" and upgrade:
        seek = RequestSeek(draw(st.integers(0, source.head.byte_length + 2)), 0)
    return Request(
        id=1, fork=0, block=block, hash=node, seek=seek, upgrade=upgrade, manifest=reader.manifest is None
    )


@given(readers(), st.data())
def test_a_proper_request_gets_a_proof_that_verifies(
    state: tuple[Publisher, ReaderCore], data: st.DataObject
) -> None:
    source, reader = state
    request = data.draw(proper_requests(source, reader))
    before = reader.head
    verified = reader.apply(source.answer(request))
    assert reader.nodes.items() <= source.nodes.items()
    assert verified.head == (source.head if request.upgrade else None)
    assert reader.head == (source.head if request.upgrade else before)
    if request.block is not None:
        assert reader.blocks[request.block.index] == source.blocks[request.block.index]


@given(readers(limit=20), st.data(), st.integers(0, 2**32 - 1))
def test_a_flipped_bit_of_a_proof_is_refused_or_harmless(
    state: tuple[Publisher, ReaderCore], data: st.DataObject, at: int
) -> None:
    source, reader = state
    request = data.draw(proper_requests(source, reader))
    message = bytearray(encode(source.answer(request)))
    message[(at >> 3) % len(message)] ^= 1 << (at & 7)
    try:
        verified = reader.apply(decode(bytes(message)))
    except RemoteProtocolError:
        return
    # Only what does not matter may differ: the request's id, spare nodes, sizes that stay out of the store
    assert reader.nodes.items() <= source.nodes.items()
    if verified.head is not None:
        assert same_tree(verified.head, source.head)
        assert verify_head(source.manifest, source.key, source.head, verified.head.signature)
    if verified.block is not None:
        index, value = verified.block
        assert value == source.blocks[index]
    assert reader.manifest in (None, source.manifest)


def test_no_single_bit_of_a_small_proof_matters_unnoticed() -> None:
    # The same, for every bit of one answer with all its parts
    source = publisher(11)
    fresh = ReaderCore(source.key)
    message = encode(source.ask(upgrade=RequestUpgrade(0, 9), block=RequestBlock(4, 0), manifest=True))
    refused = 0
    for bit in range(8 * len(message)):
        changed = bytearray(message)
        changed[bit >> 3] ^= 1 << (bit & 7)
        reader = fresh.copy()
        try:
            reader.apply(decode(bytes(changed)))
        except RemoteProtocolError:
            refused += 1
            continue
        assert reader.nodes.items() <= source.nodes.items()
        assert same_tree(reader.head, fresh.head) or same_tree(reader.head, source.head)
        assert reader.blocks.items() <= dict(enumerate(source.blocks)).items()
    assert refused > 8 * (len(message) - 3)


uints = st.one_of(st.integers(0, 90), st.integers(0, 2**53 - 1))


@settings(max_examples=examples(300))
@given(
    length=st.integers(0, 40),
    block=st.none() | st.builds(RequestBlock, uints, uints),
    node=st.none() | st.builds(RequestHash, uints, uints),
    seek=st.none() | st.builds(RequestSeek, uints, uints),
    upgrade=st.none() | st.builds(RequestUpgrade, uints, uints),
    prologue=st.sampled_from([0, 0, 5]),
)
@example(
    length=1, block=None, node=None, seek=RequestSeek(0, 2**53 - 1), upgrade=RequestUpgrade(0, 1), prologue=0
)
def test_no_request_breaks_the_uploader(
    length: int,
    block: RequestBlock | None,
    node: RequestHash | None,
    seek: RequestSeek | None,
    upgrade: RequestUpgrade | None,
    prologue: int,
) -> None:
    source = publisher(length)
    request = Request(id=1, fork=0, block=block, hash=node, seek=seek, upgrade=upgrade)
    value = source.blocks[block.index] if block is not None and block.index < length else None
    try:
        data = create_proof(source.nodes, length, b"s", request, value, prologue_length=prologue)
    except (InvalidRequest, BlockNotAvailable):
        return
    assert decode(encode(data)) == data
    assert len(encode(data)) < 20_000


@settings(max_examples=examples(300))
@given(readers(limit=20), st.integers(0, 2**64))
def test_spliced_proofs_raise_only_remote_protocol_errors(
    state: tuple[Publisher, ReaderCore], seed: int
) -> None:
    # Parts of honest answers for other states, put together at random, with some numbers replaced
    _, reader = state
    rng = random.Random(seed)
    other = publisher(rng.randrange(1, 30))

    def some(nodes: list) -> list:  # type: ignore[type-arg]
        nodes = rng.sample(nodes, rng.randrange(len(nodes) + 1)) if rng.random() < 0.3 else list(nodes)
        if nodes and rng.random() < 0.4:
            at = rng.randrange(len(nodes))
            nodes[at] = nodes[at]._replace(
                **{rng.choice(["index", "size"]): rng.choice([0, 1, 7, 2**53 - 1])}
            )
        return nodes

    index = rng.randrange(other.head.length)
    at = rng.randrange(other.head.length)
    from_ = (
        other.ask(upgrade=RequestUpgrade(at, other.head.length - at), block=RequestBlock(index, 0))
        if (index >= at)
        else other.ask(upgrade=RequestUpgrade(at, other.head.length - at))
    )
    block, upgrade = from_.block, from_.upgrade
    assert upgrade is not None
    seek = other.ask(
        upgrade=RequestUpgrade(0, other.head.length), seek=RequestSeek(rng.randrange(200), 0)
    ).seek
    node = other.ask(hash=RequestHash(2 * index, 0)).hash
    data = Data(
        request=1,
        fork=rng.choice([0, 0, 0, 1]),
        block=None if block is None or rng.random() < 0.4 else block._replace(nodes=some(block.nodes)),
        hash=None if node is None or rng.random() < 0.6 else node._replace(nodes=some(node.nodes)),
        seek=None if seek is None or rng.random() < 0.6 else seek._replace(nodes=some(seek.nodes)),
        upgrade=None
        if rng.random() < 0.3
        else upgrade._replace(
            start=rng.choice([upgrade.start, 0, 5, 2**53 - 1]),
            length=rng.choice([upgrade.length, 0, 3, 2**53 - 1]),
            nodes=some(upgrade.nodes),
            additional_nodes=some(upgrade.additional_nodes + upgrade.nodes[:1]),
        ),
        manifest=rng.choice([None, other.manifest]),
    )
    try:
        reader.apply(data)
    except RemoteProtocolError:
        pass
    else:
        assert same_tree(reader.head, publisher(reader.head.length).head)
    with contextlib.suppress(RemoteProtocolError):
        Reorg.start(data, reader.head, reader.nodes, reader.key, reader.manifest)


@given(st.binary(max_size=400))
def test_garbage_that_decodes_raises_only_remote_protocol_errors(garbage: bytes) -> None:
    source = publisher(8)
    reader = ReaderCore(source.key, source.head, source.nodes, source.manifest).copy()
    try:
        data = Data.decode(Reader(garbage))
        reader.apply(data)
    except RemoteProtocolError:
        return
    assert reader.head == source.head


@pytest.mark.parametrize("length", [1, 2, 5, 32, 33])
def test_a_reader_ends_up_with_the_publishers_tree(length: int) -> None:
    source = publisher(length)
    reader = ReaderCore(source.key)
    order = list(range(length))
    random.Random(length).shuffle(order)
    for index in order:
        upgrade = None if reader.head.length else RequestUpgrade(0, length)
        reader.apply(
            source.ask(block=reader.block_request(index), upgrade=upgrade, manifest=upgrade is not None)
        )
    assert reader.nodes == source.nodes
    assert reader.head == source.head
    assert [reader.blocks[i] for i in range(length)] == source.blocks
