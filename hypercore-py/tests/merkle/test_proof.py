"""Proofs that an uploader makes, byte for byte against official ones."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.codec import Reader
from hypercore.errors import BlockNotAvailable, InvalidRequest
from hypercore.merkle import flat_tree
from hypercore.merkle.proof import byte_offset, create_proof, missing_nodes, seek
from hypercore.wire.data import Data, DataUpgrade
from hypercore.wire.request import Request, RequestBlock, RequestHash, RequestSeek, RequestUpgrade
from support.merkle_trees import (
    Json,
    Publisher,
    ReaderCore,
    encode,
    from_json_request,
    indices,
    load,
    make_blocks,
    unhex,
    vector,
)


@cache
def publisher(length: int) -> Publisher:
    return Publisher(make_blocks(length))


def prove(length: int, request: Request) -> Data:
    source = publisher(length)
    index = request.block.index if request.block else None
    value = source.blocks[index] if index is not None and index < length else None
    return create_proof(source.nodes, length, source.head.signature, request, value, manifest=source.manifest)


@pytest.mark.parametrize("case", load("proofs"), ids=lambda case: case["name"])
def test_a_proof_is_the_official_one_to_the_byte(case: Json) -> None:
    inputs, expected = case["inputs"], case["output"]
    request = Request.decode(Reader(unhex(inputs["request"])))
    if "data" in expected:
        assert encode(prove(inputs["length"], request)).hex() == expected["data"]
    else:
        with pytest.raises(InvalidRequest):
            prove(inputs["length"], request)


def seeks_outside_of_the_first_root(length: int, request: Request) -> bool:
    """Where the official code computes NaN for the place of the seek, and so leaves its part out."""
    if request.seek is None or (request.block is None and request.hash is None):
        return False
    index = 2 * request.block.index if request.block else request.hash.index if request.hash else 0
    levels = request.block.nodes if request.block else request.hash.nodes if request.hash else 0
    if request.upgrade is not None and flat_tree.right_span(index) >= 2 * request.upgrade.start:
        return False
    for _ in range(levels):
        index = flat_tree.parent(index)
    return not flat_tree.contains(next(iter(flat_tree.full_roots(length))), index)


def parts(data: Data) -> Json:
    target, upgrade = data.block or data.hash, data.upgrade
    return {
        "node": indices(target.nodes) if target else None,
        "seek": indices(data.seek.nodes) if data.seek else None,
        "upgrade": indices(upgrade.nodes) if upgrade else None,
        "additional": indices(upgrade.additional_nodes) if upgrade else [],
    }


@pytest.mark.parametrize(
    "case", [c for c in load("random") if c["name"] == "rproof"], ids=lambda c: f"{c['inputs']['length']}"
)
def test_random_requests_get_the_official_nodes(case: Json) -> None:
    length, expected = case["inputs"]["length"], case["output"]
    request = from_json_request(case["inputs"]["req"])
    if seeks_outside_of_the_first_root(length, request) and "error" not in expected:
        # The rest of the proof is what it is without the seek
        request = from_json_request(case["inputs"]["req"] | {"seek": None})
    if "error" in expected:
        with pytest.raises(InvalidRequest):
            prove(length, request)
    else:
        assert parts(prove(length, request)) == expected


def test_a_seek_next_to_a_block_outside_of_the_first_root_is_answered() -> None:
    # 100 blocks have the roots 63, 159 and 195: block 96 and 98 are under 195, in different halves
    source = publisher(100)
    start = sum(map(len, source.blocks[:98])) + 1
    request = Request(id=1, fork=0, block=RequestBlock(96, 2), seek=RequestSeek(start, 0))
    data = prove(100, request)
    assert data.seek is not None and indices(data.seek.nodes) == [196, 198]
    assert data.block is not None and indices(data.block.nodes) == [194]
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    assert reader.apply(data).block == (96, source.blocks[96])
    # ... but not where it leads out of the part that the requester can check
    with pytest.raises(InvalidRequest):
        prove(100, Request(id=1, fork=0, block=RequestBlock(96, 1), seek=RequestSeek(start, 0)))


@given(st.integers(8, 40), st.sampled_from([0, 8]), st.data())
def test_a_seek_next_to_a_block_leads_to_the_byte(length: int, padding: int, data: st.DataObject) -> None:
    contents = [make_blocks(1, start=i)[0] for i in range(length)]
    source = Publisher([bytes(padding) + content for content in contents])
    index = data.draw(st.integers(0, length - 1))
    wanted = data.draw(st.integers(0, length - 1))
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    block = reader.block_request(index)
    top = 2 * index
    for _ in range(block.nodes):
        top = flat_tree.parent(top)
    # One byte into the block, so that the seek cannot end at a node that starts there
    position = sum(map(len, contents[:wanted])) + (1 if len(contents[wanted]) > 1 else 0)
    request = Request(id=1, fork=0, block=block, seek=RequestSeek(position, padding))
    if not flat_tree.contains(top, 2 * wanted):
        if position != sum(map(len, contents[: flat_tree.left_span(top) // 2])):
            with pytest.raises(InvalidRequest):
                source.answer(request)
        return
    answer = source.answer(request)
    if answer.seek is not None:
        sought = answer.seek.nodes[0].index
        assert flat_tree.contains(sought, 2 * wanted) or flat_tree.right_span(sought) + 2 == 2 * wanted
    elif len(contents[wanted]) > 1 and wanted != index:
        # It is among the nodes of the block then
        assert answer.block is not None
        assert 2 * wanted in {node.index for node in answer.block.nodes}
    assert reader.apply(answer).block == (index, source.blocks[index])
    assert reader.nodes.items() <= source.nodes.items()


def test_an_upgrade_inside_of_the_prologue_becomes_the_whole_prologue() -> None:
    expected = vector("multisig", "static-core-partial-upgrade")["output"]["upgrade"]
    source = publisher(7)
    request = Request(id=1, fork=0, upgrade=RequestUpgrade(0, 3))
    data = create_proof(source.nodes, 7, None, request, prologue_length=7)
    assert data.upgrade is not None
    assert (data.upgrade.start, data.upgrade.length) == (expected["start"], expected["length"])
    assert indices(data.upgrade.nodes) == expected["nodes"]
    assert indices(data.upgrade.additional_nodes) == expected["additional"]
    assert data.upgrade.signature is None


def test_an_upgrade_inside_of_the_prologue_reaches_a_block_behind_it() -> None:
    """As official readers ask that know nothing of the prologue yet."""
    source = publisher(20)

    def answer(block: int) -> DataUpgrade | None:
        request = Request(id=1, fork=0, block=RequestBlock(block, 0), upgrade=RequestUpgrade(0, 20))
        return create_proof(source.nodes, 20, b"s", request, b"block", prologue_length=7).upgrade

    behind, inside = answer(19), answer(3)
    assert behind is not None
    assert inside is not None
    assert (behind.start, behind.length) == (0, 20)
    assert (inside.start, inside.length) == (0, 7)


def test_a_prologue_is_followed_by_additional_nodes() -> None:
    source = publisher(9)
    request = Request(id=1, fork=0, upgrade=RequestUpgrade(5, 4))
    data = create_proof(source.nodes, 9, b"s", request, prologue_length=7)
    assert data.upgrade is not None
    assert (data.upgrade.start, data.upgrade.length) == (0, 7)
    assert indices(data.upgrade.additional_nodes) == [14, 16]
    beyond = Request(id=1, fork=0, upgrade=RequestUpgrade(7, 2))
    data = create_proof(source.nodes, 9, b"s", beyond, prologue_length=7)
    assert data.upgrade is not None
    assert (data.upgrade.start, data.upgrade.length) == (7, 2)


def test_an_empty_core_answers_with_no_parts() -> None:
    request = Request(id=7, fork=2, upgrade=RequestUpgrade(0, 1))
    assert create_proof({}, 0, None, request) == Data(request=7, fork=2)


def test_a_manifest_is_sent_only_if_asked_for() -> None:
    source = publisher(3)
    upgrade = RequestUpgrade(0, 3)
    assert prove(3, Request(id=1, fork=0, upgrade=upgrade)).manifest is None
    assert prove(3, Request(id=1, fork=0, upgrade=upgrade, manifest=True)).manifest == source.manifest
    assert prove(3, Request(id=1, fork=0, manifest=True)).manifest == source.manifest


@pytest.mark.parametrize(
    "request_",
    [
        Request(id=1, fork=0, block=RequestBlock(2**53 - 1, 0)),
        Request(id=1, fork=0, block=RequestBlock(0, 2**53 - 1)),
        Request(id=1, fork=0, hash=RequestHash(2**53 - 1, 2**53 - 1)),
        Request(id=1, fork=0, hash=RequestHash(199, 0)),
        Request(id=1, fork=0, upgrade=RequestUpgrade(2**53 - 1, 2**53 - 1)),
        Request(id=1, fork=0, block=RequestBlock(60, 0), upgrade=RequestUpgrade(10, 20)),
        Request(id=1, fork=0, hash=RequestHash(31, 0), upgrade=RequestUpgrade(10, 20)),
        Request(
            id=1, fork=0, hash=RequestHash(31, 0), upgrade=RequestUpgrade(30, 20), seek=RequestSeek(0, 0)
        ),
        Request(id=1, fork=0, hash=RequestHash(63, 0), seek=RequestSeek(2**53 - 1, 0)),
        Request(id=1, fork=0, hash=RequestHash(63, 0), seek=RequestSeek(1, 2**53 - 1)),
    ],
)
def test_what_cannot_be_proven_is_an_invalid_request(request_: Request) -> None:
    with pytest.raises(InvalidRequest):
        prove(100, request_)


def test_a_seek_without_anything_else_has_no_answer() -> None:
    data = prove(100, Request(id=1, fork=0, seek=RequestSeek(100, 0)))
    assert data == Data(request=1, fork=0)


def test_a_missing_node_or_block_is_not_available() -> None:
    source = publisher(8)
    request = Request(id=1, fork=0, block=RequestBlock(0, 3))
    sparse = {index: node for index, node in source.nodes.items() if index != 5}
    with pytest.raises(BlockNotAvailable):
        create_proof(sparse, 8, b"", request, source.blocks[0])
    with pytest.raises(BlockNotAvailable):
        create_proof(source.nodes, 8, b"", request, None)
    upgrade = Request(id=1, fork=0, upgrade=RequestUpgrade(3, 5))
    with pytest.raises(BlockNotAvailable):
        create_proof({0: source.nodes[0]}, 8, b"", upgrade)


def test_an_empty_block_can_be_proven() -> None:
    source = Publisher([b"", b"x", b""])
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    for index in range(3):
        reader.apply(source.ask(block=reader.block_request(index)))
    assert [reader.blocks[i] for i in range(3)] == source.blocks


# --- positions


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=40), st.data())
def test_byte_offsets_are_the_sizes_of_what_lies_before(blocks: list[bytes], data: st.DataObject) -> None:
    source = Publisher(blocks)
    index = data.draw(st.integers(0, len(blocks) - 1))
    before = sum(map(len, blocks[:index]))
    assert byte_offset(source.nodes, source.head.roots, 2 * index) == before
    for node in source.nodes:
        first = flat_tree.left_span(node) // 2
        assert byte_offset(source.nodes, source.head.roots, node) == sum(map(len, blocks[:first]))
    assert byte_offset(source.nodes, source.head.roots, 2 * len(blocks)) == source.head.byte_length


def test_a_position_outside_of_the_tree_is_refused() -> None:
    source = publisher(3)
    with pytest.raises(ValueError, match="outside"):
        byte_offset(source.nodes, source.head.roots, 8)
    with pytest.raises(ValueError, match="beyond the end"):
        seek(source.nodes, source.head.roots, source.head.byte_length + 1)
    assert byte_offset({}, (), 0) == 0
    assert seek({}, (), 0) == (0, 0)


@given(st.lists(st.binary(max_size=9), max_size=40), st.sampled_from([0, 8]), st.data())
def test_a_seek_finds_the_block_that_holds_the_byte(
    contents: list[bytes], padding: int, data: st.DataObject
) -> None:
    source = Publisher([bytes(padding) + content for content in contents])
    whole = b"".join(contents)
    position = data.draw(st.integers(0, len(whole)))
    block, offset = seek(source.nodes, source.head.roots, position, padding)
    if position == len(whole):
        assert (block, offset) == (len(contents), 0)
    else:
        assert sum(map(len, contents[:block])) + offset == position
        assert offset < len(contents[block])


def test_a_seek_through_missing_nodes_is_not_available() -> None:
    source = publisher(8)
    with pytest.raises(BlockNotAvailable):
        seek({}, source.head.roots, 10)
    with pytest.raises(BlockNotAvailable):
        byte_offset({}, source.head.roots, 10)


def test_missing_nodes_counts_the_levels_to_the_first_stored_node() -> None:
    source = publisher(100)
    roots = {root.index: root for root in source.head.roots}
    assert missing_nodes(roots, 100, 2 * 42) == 6
    assert missing_nodes(roots | {84: source.nodes[84]}, 100, 2 * 42) == 0
    assert missing_nodes(roots | {85: source.nodes[85]}, 100, 2 * 42) == 1
    assert missing_nodes(roots, 100, 63) == 0
    # Beyond the tree an upgrade brings the nodes
    assert missing_nodes(roots, 100, 2 * 100) == 0
    assert missing_nodes({}, 0, 0) == 0
    # With a root lost, it counts up to where the tree ends
    assert missing_nodes({}, 100, 2 * 42) == 7
    assert missing_nodes({}, 100, 2 * 98) == 3
    assert missing_nodes(roots, 100, 2**53) == 0


@given(st.integers(1, 60), st.data())
def test_missing_nodes_is_what_a_block_request_needs(length: int, data: st.DataObject) -> None:
    source = publisher(length)
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    for index in data.draw(st.lists(st.integers(0, length - 1), max_size=5)):
        request = reader.block_request(index)
        reader.apply(source.ask(block=request))
        assert missing_nodes(reader.nodes, length, 2 * index) == 0
