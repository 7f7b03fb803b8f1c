"""What a downloader accepts and what not, against what the official one did with the same bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hypercore.codec import MAX_SAFE_INTEGER
from hypercore.crypto import discovery_key
from hypercore.errors import InvalidChecksum, InvalidProof, InvalidSignature, VerificationError
from hypercore.manifest import Manifest, Prologue
from hypercore.merkle.batch import TreeBatch
from hypercore.merkle.conflict import is_conflict
from hypercore.merkle.flat_tree import full_roots
from hypercore.merkle.head import TreeHead
from hypercore.merkle.proof import create_proof
from hypercore.merkle.reorg import Reorg
from hypercore.merkle.signing import sign_head
from hypercore.merkle.verify import verify_standalone
from hypercore.node import Node
from hypercore.wire.data import Data, DataBlock, DataHash, DataSeek, DataUpgrade
from hypercore.wire.request import Request, RequestBlock, RequestHash, RequestSeek, RequestUpgrade
from support.merkle_trees import (
    Json,
    Publisher,
    ReaderCore,
    decode,
    from_json_node,
    key_pair,
    load,
    make_blocks,
    unhex,
    vector,
)

ERRORS: dict[str | None, type[VerificationError]] = {
    "INVALID_OPERATION": InvalidProof,
    "INVALID_PROOF": InvalidProof,
    "INVALID_CHECKSUM": InvalidChecksum,
    "INVALID_SIGNATURE": InvalidSignature,
    # Another fork: the official verifier says no without an error
    None: InvalidProof,
}


def reader_of(case: Json) -> ReaderCore:
    state = case["inputs"]["state"]
    nodes = {node["index"]: from_json_node(node) for node in state["nodes"]}
    roots = tuple(nodes[index] for index in full_roots(state["length"]))
    size = sum(root.size for root in roots)
    head = TreeHead(fork=state["fork"], length=state["length"], byte_length=size, roots=roots)
    manifest = Manifest.default(key_pair(1).public_key) if state["length"] else None
    return ReaderCore(unhex(case["inputs"]["key"]), head, nodes, manifest)


def check(case: Json) -> None:
    reader, expected = reader_of(case), case["output"]
    data = decode(unhex(case["inputs"]["data"]))
    if not expected["accepted"]:
        before = reader.copy()
        with pytest.raises(VerificationError) as caught:
            reader.apply(data)
        assert type(caught.value) is ERRORS[expected.get("error")]
        assert reader == before
        return
    reader.apply(data, keep_loose=True)
    assert reader.head.length == expected["length"]
    assert reader.nodes == {node["index"]: from_json_node(node) for node in expected["nodes"]}
    if "byteLength" in expected:
        assert (reader.head.byte_length, reader.head.fork) == (expected["byteLength"], expected["fork"])
    if "has" in expected:
        assert set(reader.blocks) | set(case["inputs"]["havingBlocks"]) == set(expected["has"])


@pytest.mark.parametrize("case", load("verify"), ids=lambda case: case["name"])
def test_data_is_accepted_or_refused_as_by_the_official_peer(case: Json) -> None:
    check(case)


@pytest.mark.parametrize(
    "case",
    [c for c in load("random") if c["name"] == "rverify"],
    ids=lambda case: f"{case['inputs']['state']['length']}-{case['output'].get('length', 'bad')}",
)
def test_random_data_is_accepted_or_refused_as_by_the_official_peer(case: Json) -> None:
    check({**case, "inputs": {"state": {"fork": 0}} | case["inputs"]})


# --- what a whole tree on its own proves


def test_a_fully_remote_proof_verifies_without_anything_stored() -> None:
    message = unhex(vector("aux", "fully-remote-proof")["output"])
    key = Publisher().key
    assert message[:32] == discovery_key(key)
    verified = verify_standalone(decode(message[32:]), key, None)
    assert verified.head is not None and verified.head.length == 10
    assert verified.block == (9, make_blocks(10)[9])
    assert verified.manifest == Manifest.default(key_pair(1).public_key)


def test_a_standalone_proof_needs_a_tree_and_nothing_beside_it() -> None:
    source = Publisher(make_blocks(10))
    with pytest.raises(InvalidProof, match="no tree"):
        verify_standalone(source.ask(block=RequestBlock(3, 0)), source.key, source.manifest)
    empty = Data(request=1, fork=0, upgrade=DataUpgrade(0, 0, [], [], None))
    with pytest.raises(InvalidProof, match="empty"):
        verify_standalone(empty, source.key, source.manifest)
    stray = DataBlock(3, source.blocks[3], [])
    with pytest.raises(InvalidProof, match="not a part"):
        verify_standalone(replace(source.whole(), block=stray), source.key, None)


def test_static_cores_need_no_signature() -> None:
    case = vector("multisig", "static-core")["output"]
    reader = ReaderCore(unhex(case["key"]))
    data = decode(unhex(case["data"]))
    assert data.upgrade is not None and data.upgrade.signature is None
    reader.apply(data)
    assert reader.head.length == case["length"] == 7
    assert reader.manifest is not None and reader.manifest.prologue is not None


def test_a_prologue_may_be_followed_by_signed_blocks() -> None:
    case = vector("multisig", "prologue+signer")["output"]
    data = decode(unhex(case["data"]))
    assert data.upgrade is not None
    assert [node.index for node in data.upgrade.nodes] == case["upgradeNodes"]
    reader = ReaderCore(unhex(case["key"]))
    reader.apply(data)
    assert reader.head.length == 9


def prologue_core() -> tuple[Publisher, Publisher]:
    """A core of 9 blocks, the first 7 of them its prologue, and one of its signer with another prologue."""
    keys = key_pair(1)
    start = Publisher(make_blocks(7))
    manifest = Manifest.create((keys.public_key,), prologue=Prologue(start.head.hash(), 7))
    honest = Publisher(make_blocks(9), manifest=manifest)
    return honest, Publisher(make_blocks(9, start=1), manifest=manifest)


def test_an_upgrade_must_cover_the_prologue_and_agree_with_it() -> None:
    honest, other = prologue_core()
    reader = ReaderCore(honest.key, manifest=honest.manifest)
    for short in (RequestUpgrade(0, 4), RequestUpgrade(4, 5)):
        with pytest.raises(InvalidProof, match="prologue"):
            reader.apply(honest.ask(upgrade=short))
    with pytest.raises(InvalidProof, match="prologue"):
        reader.apply(other.ask(upgrade=RequestUpgrade(0, 7)))
    # The signature of a signer does not help, whether the manifest is known or comes along
    for manifest in (honest.manifest, None):
        with pytest.raises(InvalidProof, match="prologue"):
            ReaderCore(honest.key, manifest=manifest).apply(
                other.ask(upgrade=RequestUpgrade(0, 7), manifest=True)
            )
    reader.apply(honest.ask(upgrade=RequestUpgrade(0, 7)))
    assert reader.head.length == 9


# --- manifests


def test_a_compat_core_takes_only_its_key_from_a_manifest() -> None:
    keys = key_pair(1)
    source = Publisher(make_blocks(5), key=keys.public_key)
    reader = ReaderCore(keys.public_key)
    odd = replace(source.manifest, prologue=Prologue(bytes(32), 3), version=3, user_data=b"who knows")
    assert odd.is_compat_with(keys.public_key)
    reader.apply(replace(source.whole(), manifest=odd))
    assert reader.manifest == Manifest.default(keys.public_key)
    assert ReaderCore(keys.public_key).apply(source.ask(upgrade=RequestUpgrade(0, 5))).manifest is not None


def test_a_manifest_may_come_alone() -> None:
    source = Publisher(make_blocks(5))
    reader = ReaderCore(source.key)
    assert reader.apply(source.ask(manifest=True)).manifest == source.manifest
    assert reader.head.length == 0
    wrong = Data(request=1, fork=0, manifest=Manifest.default(bytes(32)))
    with pytest.raises(InvalidChecksum):
        ReaderCore(source.key).apply(wrong)
    # Once known, what peers say about it does not matter
    assert reader.apply(wrong).manifest is None
    compat = ReaderCore(source.keys.public_key)
    assert compat.apply(source.ask(manifest=True)).manifest is None


# --- upgrades that come too late


def test_an_answer_that_another_peer_overtook_is_still_worth_its_block() -> None:
    source = Publisher(make_blocks(50))
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    source.append(make_blocks(10, start=50))
    upgrade = RequestUpgrade(50, 10)
    late = source.ask(upgrade=upgrade, block=RequestBlock(55, 0))
    reader.apply(source.ask(upgrade=upgrade))
    verified = reader.apply(late)
    assert verified.head is None
    assert verified.block == (55, source.blocks[55])
    assert reader.head.length == 60


def test_a_late_answer_that_disagrees_with_what_is_stored_is_refused() -> None:
    source = Publisher(make_blocks(50))
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    source.append(make_blocks(10, start=50))
    late = source.ask(upgrade=RequestUpgrade(50, 10), block=RequestBlock(55, 0))
    reader.apply(source.ask(upgrade=RequestUpgrade(50, 10)))
    assert late.block is not None
    with pytest.raises(InvalidChecksum):
        reader.apply(replace(late, block=late.block._replace(value=b"forged")))


def test_a_signed_shorter_tree_does_not_shorten_ours() -> None:
    source = Publisher(make_blocks(50))
    shorter = source.whole()
    source.append(make_blocks(50, start=50))
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    with pytest.raises(InvalidProof):
        reader.apply(shorter)
    assert reader.head.length == 100


def test_a_stale_tree_that_is_stored_is_accepted_without_a_change() -> None:
    source = Publisher(make_blocks(50))
    shorter = source.whole()
    reader = ReaderCore(source.key)
    reader.apply(shorter)
    source.append(make_blocks(50, start=50))
    reader.apply(source.ask(upgrade=RequestUpgrade(50, 50)))
    assert reader.apply(shorter).head is None
    assert reader.head.length == 100


# --- sizes that only the peer vouches for


def shift(nodes: list[Node], one: int, two: int) -> list[Node]:
    """Move a byte from one node to another: their parent's hash does not notice."""
    moved = list(nodes)
    moved[one] = moved[one]._replace(size=moved[one].size - 1)
    moved[two] = moved[two]._replace(size=moved[two].size + 1)
    return moved


def test_nodes_whose_sizes_are_only_claimed_are_kept_apart() -> None:
    source = Publisher(make_blocks(100))
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    data = source.ask(hash=RequestHash(20, 6))
    assert data.hash is not None
    verified = reader.verify(data)
    assert {node.index for node in verified.loose_nodes} == {20, 22}
    assert {20, 22}.isdisjoint(node.index for node in verified.new_nodes)
    shifted = replace(data, hash=data.hash._replace(nodes=shift(data.hash.nodes, 0, 1)))
    verified = reader.verify(shifted)
    # The proof holds, as it does for the official verifier, but nothing false gets into the store
    assert verified.loose_nodes
    assert all(source.nodes[node.index] == node for node in verified.new_nodes)


def test_a_shifted_size_is_caught_where_one_of_the_two_is_stored() -> None:
    source = Publisher(make_blocks(100))
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    reader.apply(source.ask(block=reader.block_request(11)))
    data = source.ask(hash=RequestHash(20, 6))
    assert data.hash is not None
    assert not reader.verify(data).loose_nodes
    with pytest.raises(InvalidChecksum):
        reader.verify(replace(data, hash=data.hash._replace(nodes=shift(data.hash.nodes, 0, 1))))


def test_a_hash_with_another_size_than_the_stored_node_is_refused() -> None:
    source = Publisher(make_blocks(100))
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    node = source.nodes[63]
    data = Data(request=1, fork=0, hash=DataHash(63, [node]))
    assert reader.verify(data).new_nodes == [node]
    with pytest.raises(InvalidChecksum):
        reader.verify(replace(data, hash=DataHash(63, [node._replace(size=node.size + 1)])))


def test_additional_nodes_cannot_shift_bytes_either() -> None:
    # 50 blocks have the roots 31, 79 and 98; the way to 100 merges 98 with 100 first
    source = Publisher(make_blocks(100))
    reader = ReaderCore(source.key)
    data = source.ask(upgrade=RequestUpgrade(0, 50), manifest=True)
    upgrade = data.upgrade
    assert upgrade is not None
    last, first = upgrade.nodes[-1], upgrade.additional_nodes[0]
    forged = upgrade._replace(
        nodes=[*upgrade.nodes[:-1], last._replace(size=last.size - 1)],
        additional_nodes=[first._replace(size=first.size + 1), *upgrade.additional_nodes[1:]],
    )
    verified = reader.apply(replace(data, upgrade=forged))
    assert {node.index for node in verified.loose_nodes} == {last.index, first.index}
    assert reader.nodes.items() <= source.nodes.items()
    # Every block can be had all the same
    for index in range(100):
        reader.apply(source.ask(block=reader.block_request(index)))
    assert reader.nodes == source.nodes


def test_a_block_proves_the_sizes_of_all_its_siblings() -> None:
    source = Publisher(make_blocks(100))
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    data = source.ask(block=RequestBlock(42, 6))
    assert not reader.verify(data).loose_nodes
    assert data.block is not None
    for one in range(6):
        for two in range(6):
            if one != two:
                nodes = shift(data.block.nodes, one, two)
                with pytest.raises(InvalidChecksum):
                    reader.verify(replace(data, block=data.block._replace(nodes=nodes)))


# --- bounds


def test_a_proof_of_more_bytes_than_an_integer_holds_is_refused() -> None:
    source = Publisher(make_blocks(8))
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    data = source.ask(block=RequestBlock(0, 3))
    assert data.block is not None
    nodes = [node._replace(size=MAX_SAFE_INTEGER) for node in data.block.nodes]
    with pytest.raises(InvalidProof, match="not possible"):
        reader.verify(replace(data, block=data.block._replace(nodes=nodes)))


def test_a_tree_of_more_blocks_or_bytes_than_an_integer_holds_is_refused() -> None:
    source = Publisher(make_blocks(3))
    reader = ReaderCore(source.key, manifest=source.manifest)
    huge = 2**53 - 1
    roots = [Node(index, 1, bytes(32)) for index in full_roots(2 * huge)]
    for nodes, length in ((roots, huge), ([Node(1, huge, bytes(32)), Node(4, 1, bytes(32))], 3)):
        start = length if length == huge else 0
        with pytest.raises(InvalidProof, match="not possible"):
            reader.verify(Data(request=1, fork=0, upgrade=DataUpgrade(start, length, nodes, [], bytes(64))))


def test_a_long_list_of_nodes_ends_at_the_top_of_the_numbers() -> None:
    source = Publisher(make_blocks(8))
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    index, nodes = 2 * 5, []
    for _ in range(4096):
        place = index + 1
        nodes.append(Node(((place ^ ((place & -place) << 1)) - 1) & MAX_SAFE_INTEGER, 0, bytes(32)))
        index = ((place | (place & -place) << 1) ^ (place & -place)) - 1
    with pytest.raises(InvalidProof):
        reader.verify(Data(request=1, fork=0, block=DataBlock(5, b"", nodes)))


@pytest.mark.parametrize(
    "data",
    [
        Data(request=1, fork=0, hash=DataHash(4, [])),
        Data(request=1, fork=0, hash=DataHash(4, [Node(6, 1, bytes(32))])),
        Data(request=1, fork=0, block=DataBlock(2**53 - 1, b"", [])),
        Data(request=1, fork=0, seek=DataSeek(0, [Node(4, 1, bytes(32)), Node(8, 1, bytes(32))])),
        Data(
            request=1,
            fork=0,
            block=DataBlock(0, b"", [Node(2, 1, bytes(32))]),
            seek=DataSeek(0, [Node(100, 1, bytes(32))]),
        ),
        Data(request=1, fork=0, upgrade=DataUpgrade(0, 0, [], [Node(0, 1, bytes(32))], None)),
        Data(request=1, fork=0, upgrade=DataUpgrade(0, 3, [], [Node(9, 1, bytes(32))], None)),
    ],
)
def test_misplaced_nodes_are_an_invalid_proof(data: Data) -> None:
    source = Publisher(make_blocks(3))
    for reader in (
        ReaderCore(source.key),
        ReaderCore(source.key, source.head, source.nodes, source.manifest),
    ):
        with pytest.raises(InvalidProof):
            reader.verify(data)


def test_a_seek_is_proven_beside_a_block() -> None:
    source = Publisher(make_blocks(100))
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    position = sum(map(len, source.blocks[:7])) + 1
    data = source.ask(block=RequestBlock(40, 6), seek=RequestSeek(position, 0))
    assert data.seek is not None and data.block is not None
    verified = reader.apply(data)
    assert verified.block == (40, source.blocks[40])
    # The bottom pair of the seek comes from the peer alone
    assert {node.index for node in verified.loose_nodes} == {14, 12}
    assert reader.nodes.items() <= source.nodes.items()


# --- conflicts


def test_two_signed_trees_of_one_fork_are_a_conflict() -> None:
    source = Publisher(make_blocks(8))
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    forked = source.truncated(5, make_blocks(3, start=50), fork=0)
    state = (reader.head, reader.nodes, reader.key, source.manifest)
    assert is_conflict(forked.whole(), *state)
    assert not is_conflict(source.whole(), *state)
    # Longer than ours, of another fork, badly signed, or no tree at all: no evidence
    assert not is_conflict(source.truncated(5, make_blocks(9, start=50), fork=0).whole(), *state)
    assert not is_conflict(source.truncated(5, make_blocks(3, start=50)).whole(), *state)
    assert not is_conflict(forked.ask(block=RequestBlock(0, 0)), *state)
    bad = forked.whole()
    assert bad.upgrade is not None
    assert not is_conflict(replace(bad, upgrade=bad.upgrade._replace(signature=bytes(68))), *state)


def surplus(source: Publisher) -> list[Data]:
    """The genuine tree with nodes that the proof does not need, in every place that takes some."""
    whole = source.whole()
    upgrade = whole.upgrade
    assert upgrade is not None
    stray = Node(0, upgrade.nodes[0].size, bytes(32))
    return [
        replace(whole, upgrade=upgrade._replace(nodes=nodes, additional_nodes=additional))
        for nodes, additional in (
            ([*upgrade.nodes, stray], []),
            ([stray, *upgrade.nodes], []),
            ([*upgrade.nodes, upgrade.nodes[0]], []),
            (upgrade.nodes[::-1], []),
            (upgrade.nodes, [stray]),
            (upgrade.nodes, [stray._replace(index=2 * source.head.length)]),
        )
    ]


def test_a_genuine_tree_with_nodes_to_spare_is_no_conflict_and_no_tree() -> None:
    """Any peer that reads the core can make one."""
    source = Publisher(make_blocks(11))
    reader = ReaderCore(source.key)
    reader.apply(source.whole())
    for data in surplus(source):
        assert not is_conflict(data, reader.head, reader.nodes, reader.key, source.manifest)
        with pytest.raises(VerificationError):
            verify_standalone(data, source.key, source.manifest)


def test_two_histories_are_a_conflict_at_a_length_that_is_not_ours() -> None:
    source = Publisher(make_blocks(11))
    reader = ReaderCore(source.key, source.head, source.nodes, source.manifest)
    state = (reader.head, reader.nodes, reader.key, source.manifest)
    for shared, added, conflict in ((5, 3, True), (8, 0, False), (0, 8, True), (7, 20, True)):
        other = source.truncated(shared, make_blocks(added, start=50), fork=0)
        data = other.whole()
        assert data.upgrade is not None
        if other.head.length > 11:  # the part that both have, and additional nodes
            data = create_proof(
                other.nodes,
                other.head.length,
                other.head.signature,
                Request(id=0, fork=0, upgrade=RequestUpgrade(0, 11)),
            )
        assert is_conflict(data, *state) is conflict


# --- forks of a core with a prologue


def test_a_prologue_proves_nothing_about_a_fork() -> None:
    """Any peer could move the core to a fork of his choice, and have all behind the prologue given up."""
    honest, _ = prologue_core()
    start = Publisher(make_blocks(7))
    nodes = [start.nodes[index] for index in full_roots(7)]
    forged = Data(request=0, fork=7_000_000, upgrade=DataUpgrade(0, 7, nodes, [], None))
    with pytest.raises(InvalidSignature):
        verify_standalone(forged, honest.key, honest.manifest)
    with pytest.raises(InvalidSignature):
        Reorg.start(forged, honest.head, honest.nodes, honest.key, honest.manifest)
    assert verify_standalone(replace(forged, fork=0), honest.key, honest.manifest).head is not None
    signature = honest.head.signature
    stolen = replace(forged, upgrade=DataUpgrade(0, 7, nodes, [], signature))
    with pytest.raises(InvalidSignature):
        Reorg.start(stolen, honest.head, honest.nodes, honest.key, honest.manifest)


def test_a_writer_may_cut_back_to_the_prologue_if_he_signs_that() -> None:
    honest, _ = prologue_core()
    batch = TreeBatch((honest.nodes[index] for index in full_roots(7)), fork=1)
    signature = sign_head(honest.manifest, honest.key, batch, honest.keys)
    data = Data(request=0, fork=1, upgrade=DataUpgrade(0, 7, list(batch.roots), [], signature))
    reorg = Reorg.start(data, honest.head, honest.nodes, honest.key, honest.manifest)
    assert (reorg.head.length, reorg.ancestors) == (7, 7)
