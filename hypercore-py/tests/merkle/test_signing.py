"""Multi-signatures over heads, verified and made as the official code does it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.errors import InvalidSignature, LocalProtocolError
from hypercore.manifest import Manifest, Prologue
from hypercore.merkle.batch import TreeBatch
from hypercore.merkle.signing import (
    PartialSignature,
    assemble_signature,
    partial_signature,
    sign_head,
    verify_head,
)
from hypercore.merkle.verify import verify_standalone
from hypercore.multisig import MultiSignature
from hypercore.wire.data import Data, DataUpgrade
from support.merkle_trees import Json, Publisher, from_json_node, key_pair, load, make_blocks, unhex

MULTISIG = [c for c in load("multisig") if "tree" in c["inputs"]]
NAMES = [case["name"] for case in MULTISIG]


def signed_tree(case: Json) -> TreeBatch:
    tree = case["inputs"]["tree"]
    return TreeBatch([from_json_node(node) for node in tree["roots"]], fork=tree["fork"])


def parts_of(case: Json) -> tuple[Manifest, bytes, TreeBatch, bytes]:
    inputs = case["inputs"]
    manifest = Manifest.from_bytes(unhex(inputs["manifest"]))
    return manifest, unhex(inputs["key"]), signed_tree(case), unhex(inputs["signature"])


@pytest.mark.parametrize("case", MULTISIG, ids=NAMES)
def test_an_official_multi_signature_verifies(case: Json) -> None:
    manifest, key, tree, signature = parts_of(case)
    assert manifest.key() == key
    assert tree.length == case["inputs"]["tree"]["length"]
    assert tree.hash().hex() == case["inputs"]["tree"]["treeHash"]
    assert verify_head(manifest, key, tree, signature) is case["output"]["verifies"] is True


@pytest.mark.parametrize("case", MULTISIG, ids=NAMES)
def test_our_multi_signature_is_the_official_one_to_the_byte(case: Json) -> None:
    manifest, key, tree, signature = parts_of(case)
    partials = []
    for number, length in enumerate(case["inputs"]["signerLengths"]):
        signer = Publisher(keys=key_pair(number + 1), manifest=manifest, key=key)
        signer.append(make_blocks(length), signed=False)
        partials.append(
            partial_signature(
                manifest, key, signer.head, signer.keys, nodes=signer.nodes, verified_length=tree.length
            )
        )
    assert assemble_signature(manifest, key, partials) == signature


@pytest.mark.parametrize("case", MULTISIG, ids=NAMES)
def test_a_multi_signature_needs_a_quorum_of_different_signers(case: Json) -> None:
    manifest, key, tree, signature = parts_of(case)
    multi = MultiSignature.decode(signature, version=manifest.version)
    first, second = multi.proofs

    def verifies(*proofs: object, patch: object = multi.patch) -> bool:
        changed = replace(multi, proofs=proofs, patch=patch)  # type: ignore[arg-type]
        return verify_head(manifest, key, tree, changed.encode(version=manifest.version))

    assert verifies(first, second)
    assert verifies(second, first)
    assert verifies(first) is case["output"]["oneSignerOnly"] is False
    assert verifies(second, second) is case["output"]["duplicateSigner"] is False
    assert not verifies(first._replace(signer=3), second)
    assert not verifies(first._replace(signer=second.signer), second)
    assert not verifies()
    # Only the first `quorum` proofs count, so a good one may not hide behind a bad one
    assert not verifies(first._replace(signature=bytes(64)), first, second)
    assert verifies(first, second, first._replace(signature=bytes(64)))


@pytest.mark.parametrize("case", MULTISIG, ids=NAMES)
def test_no_flipped_bit_of_the_signatures_survives(case: Json) -> None:
    manifest, key, tree, signature = parts_of(case)
    multi = MultiSignature.decode(signature, version=manifest.version)
    start = signature.index(multi.proofs[0].signature)
    for at in (start, start + 31, start + 63):
        bad = bytearray(signature)
        bad[at] ^= 1
        assert verify_head(manifest, key, tree, bytes(bad)) is case["output"]["bitflipVerifies"] is False


def test_a_patch_must_lead_to_the_signed_tree() -> None:
    case = next(c for c in MULTISIG if c["name"] == "v1-patch-true")
    manifest, key, tree, signature = parts_of(case)
    multi = MultiSignature.decode(signature, version=1)
    assert multi.patch and multi.proofs[0].patch == 3

    def verifies(**changes: object) -> bool:
        return verify_head(manifest, key, tree, replace(multi, **changes).encode(version=1))  # type: ignore[arg-type]

    assert verifies()
    assert not verifies(patch=())
    assert not verifies(patch=multi.patch[1:])
    bent = multi.patch[0]._replace(size=multi.patch[0].size + 1)
    assert not verifies(patch=(bent, *multi.patch[1:]))
    for patch in (0, 1, 2, 4, 2**53 - 1):
        assert not verifies(proofs=(multi.proofs[0]._replace(patch=patch), multi.proofs[1]))
    # Without allowPatch, the length is not looked at, and the signature is over another tree
    plain = replace(manifest, allow_patch=False)
    assert not verify_head(plain, key, tree, signature)


@given(st.binary(max_size=200))
def test_garbage_is_not_a_signature_and_raises_nothing(signature: bytes) -> None:
    for case in MULTISIG:
        manifest, key, tree, _ = parts_of(case)
        assert not verify_head(manifest, key, tree, signature)


def test_no_signature_is_not_a_signature() -> None:
    source = Publisher(make_blocks(3))
    compat = source.keys.public_key
    assert not verify_head(source.manifest, source.key, source.head, None)
    assert not verify_head(source.manifest, source.key, source.head, b"")
    assert not verify_head(source.manifest, compat, source.head, None)
    assert not verify_head(source.manifest, compat, source.head, bytes(63))


def test_a_prologue_is_its_own_signature() -> None:
    start, other = Publisher(make_blocks(7)), Publisher(make_blocks(7, start=1))
    for version in (1, 2, 3):
        manifest = Manifest.create((), version=version, prologue=Prologue(start.head.hash(), 7))
        key = manifest.key()
        assert verify_head(manifest, key, start.head, None)
        assert verify_head(manifest, key, start.head, b"whatever")
        assert not verify_head(manifest, key, other.head, None)
        assert not verify_head(manifest, key, Publisher(make_blocks(6)).head, None)
        assert not verify_head(manifest, key, Publisher(make_blocks(8)).head, None)
    # Version 0 does not say how long its prologue is, so nothing can be proven
    old = Manifest(version=0, quorum=0, signers=(), prologue=Prologue(start.head.hash(), 0))
    assert not verify_head(old, old.key(), start.head, None)
    assert not verify_head(old, old.key(), start.head, start.head.signature)


def test_a_quorum_of_none_never_grows_beyond_the_prologue() -> None:
    source = Publisher(make_blocks(3))
    no_peer = Manifest(version=1, quorum=0, signers=source.manifest.signers)
    multi = MultiSignature(proofs=())
    assert not verify_head(no_peer, no_peer.key(), source.head, multi.encode(version=1))
    with pytest.raises(LocalProtocolError):
        sign_head(no_peer, no_peer.key(), source.head, source.keys)


def test_only_signers_sign() -> None:
    source = Publisher(make_blocks(3))
    with pytest.raises(LocalProtocolError, match="not one of"):
        sign_head(source.manifest, source.key, source.head, key_pair(2))


def test_a_patch_cannot_lead_backwards() -> None:
    source = Publisher(make_blocks(3))
    with pytest.raises(LocalProtocolError, match="patch"):
        partial_signature(
            source.manifest, source.key, source.head, source.keys, nodes=source.nodes, verified_length=4
        )
    with pytest.raises(LocalProtocolError, match="patch"):
        partial_signature(source.manifest, source.key, source.head, source.keys, verified_length=2)


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_one_of_several_signers_is_enough_for_a_quorum_of_one(version: int) -> None:
    keys = [key_pair(number) for number in (1, 2, 3)]
    manifest = Manifest.create(tuple(pair.public_key for pair in keys), version=version, quorum=1)
    for pair in keys:
        source = Publisher(make_blocks(5), keys=pair, manifest=manifest)
        assert verify_head(manifest, source.key, source.head, source.head.signature)


def test_signers_in_their_order_share_the_nodes_of_their_patches() -> None:
    keys = [key_pair(number) for number in (1, 2, 3)]
    manifest = Manifest.create(tuple(pair.public_key for pair in keys), quorum=3, allow_patch=True)
    partials: list[PartialSignature] = []
    for pair, length in zip(keys, (13, 9, 6), strict=True):
        signer = Publisher(keys=pair, manifest=manifest)
        signer.append(make_blocks(length), signed=False)
        partials.append(
            partial_signature(manifest, signer.key, signer.head, pair, nodes=signer.nodes, verified_length=6)
        )
        shortest = signer
    signature = assemble_signature(manifest, shortest.key, partials)
    assert verify_head(manifest, shortest.key, shortest.head, signature)
    patch = MultiSignature.decode(signature, version=1).patch
    assert len({node.index for node in patch}) == len(patch)


def test_a_patch_does_not_prove_the_sizes_of_the_shorter_tree() -> None:
    """Of the last root and the node that the patch puts beside it, only the sum is signed. A peer could
    give any number of bytes to the root: no later head would follow from that one."""
    manifest = Manifest.create((key_pair(1).public_key,), quorum=1, allow_patch=True)
    signer = Publisher(make_blocks(6), keys=key_pair(1), manifest=manifest)
    signed = partial_signature(
        manifest, signer.key, signer.head, signer.keys, nodes=signer.nodes, verified_length=5
    )

    def claim(shift: int) -> Data:
        first, last = (signer.nodes[index] for index in (3, 8))
        beside = signer.nodes[10]
        patched = signed._replace(nodes=(beside._replace(size=beside.size - shift),))
        signature = assemble_signature(manifest, signer.key, [patched])
        upgrade = DataUpgrade(0, 5, [first, last._replace(size=last.size + shift)], [], signature)
        return Data(request=0, fork=0, upgrade=upgrade)

    for shift in (0, 1):
        with pytest.raises(InvalidSignature):
            verify_standalone(claim(shift), signer.key, manifest)
    # Where the block is here its size is known, and where a signer has signed the tree itself
    known = TreeBatch((signer.nodes[3], signer.nodes[8]), fork=0)
    assert verify_head(manifest, signer.key, known, assemble_signature(manifest, signer.key, [signed]))
