"""The two encodings of multi-signatures. What they prove is tested in merkle/test_merkle_signing.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.codec import encode_uint
from hypercore.errors import FrameDecodeError
from hypercore.multisig import (
    MAX_PATCH_NODES,
    MAX_PROOFS,
    MAX_SIGNATURE_BYTES,
    MultiSignature,
    SignerProof,
)
from hypercore.node import Node
from support.codec_cases import Json, load, nodes, uints, unhex

OFFICIAL = [c for c in load("data/multisig") if "decoded" in c["output"]]
signatures = st.binary(min_size=64, max_size=64)
lengths = uints.filter(bool)
no_nodes: st.SearchStrategy[tuple[int, ...]] = st.just(())
node_numbers = st.lists(uints, max_size=4).map(tuple)
proofs = st.builds(SignerProof, uints, signatures, uints, st.just(0), no_nodes)
proofs_v0 = st.one_of(
    st.builds(SignerProof, uints, signatures, st.just(0), st.just(0), no_nodes),
    st.builds(SignerProof, uints, signatures, lengths, uints, node_numbers),
)


def from_json_proof(value: Json) -> SignerProof:
    patch = value["patch"]
    signer, signature = value["signer"], unhex(value["signature"])
    if isinstance(patch, int):
        return SignerProof(signer, signature, patch)
    if patch is None:
        return SignerProof(signer, signature)
    return SignerProof(signer, signature, patch["length"], patch["start"], tuple(patch["nodes"]))


@pytest.mark.parametrize("case", OFFICIAL, ids=lambda case: case["name"])
def test_a_multi_signature_has_the_official_bytes(case: Json) -> None:
    version = int(case["name"][1])
    expected = case["output"]["decoded"]
    multi = MultiSignature(
        proofs=tuple(from_json_proof(proof) for proof in expected["proofs"]),
        patch=tuple(Node(n["index"], n["size"], unhex(n["hash"])) for n in expected["patch"]),
    )
    assert multi.encode(version=version).hex() == case["inputs"]["signature"]
    assert MultiSignature.decode(unhex(case["inputs"]["signature"]), version=version) == multi


def test_the_signature_of_one_signer_is_68_bytes() -> None:
    multi = MultiSignature(proofs=(SignerProof(0, bytes(64)),))
    assert multi.encode(version=1) == b"\1\0" + bytes(64) + b"\0\0"


def check(multi: MultiSignature, version: int) -> None:
    encoded = multi.encode(version=version)
    assert MultiSignature.decode(encoded, version=version) == multi
    assert MultiSignature.decode(encoded + b"tail", version=version) == multi
    for size in range(len(encoded)):
        with pytest.raises(FrameDecodeError):
            MultiSignature.decode(encoded[:size], version=version)


@given(st.lists(proofs, max_size=3).map(tuple), st.lists(nodes, max_size=3).map(tuple))
def test_a_multi_signature_survives_a_round_trip_and_every_truncation(
    proofs: tuple[SignerProof, ...], patch: tuple[Node, ...]
) -> None:
    check(MultiSignature(proofs=proofs, patch=patch), 1)


@given(st.lists(proofs_v0, max_size=3).map(tuple), st.lists(nodes, max_size=3).map(tuple))
def test_the_old_form_survives_a_round_trip_and_every_truncation(
    proofs: tuple[SignerProof, ...], patch: tuple[Node, ...]
) -> None:
    check(MultiSignature(proofs=proofs, patch=patch), 0)


@given(st.binary(max_size=200), st.sampled_from([0, 1]))
def test_garbage_raises_only_frame_decode_error(garbage: bytes, version: int) -> None:
    try:
        multi = MultiSignature.decode(garbage, version=version)
    except FrameDecodeError:
        return
    if version:
        assert MultiSignature.decode(multi.encode(version=1), version=1) == multi


@pytest.mark.parametrize("version", [0, 1])
def test_proofs_and_patch_nodes_are_bounded(version: int) -> None:
    proof, node = SignerProof(0, bytes(64)), Node(0, 0, bytes(32))
    largest = MultiSignature(proofs=(proof,) * MAX_PROOFS, patch=(node,) * MAX_PATCH_NODES)
    assert MultiSignature.decode(largest.encode(version=version), version=version) == largest
    for more in (
        MultiSignature(proofs=(proof,) * (MAX_PROOFS + 1)),
        MultiSignature(proofs=(proof,), patch=(node,) * (MAX_PATCH_NODES + 1)),
    ):
        with pytest.raises(FrameDecodeError, match="at most"):
            MultiSignature.decode(more.encode(version=version), version=version)


def test_the_node_numbers_of_the_old_form_are_bounded() -> None:
    encoded = b"\1\1\0" + bytes(64) + b"\1\1" + encode_uint(MAX_PATCH_NODES + 1) + bytes(MAX_PATCH_NODES + 2)
    with pytest.raises(FrameDecodeError, match="at most"):
        MultiSignature.decode(encoded, version=0)


def test_the_bytes_of_a_multi_signature_are_bounded() -> None:
    encoded = MultiSignature(proofs=(SignerProof(0, bytes(64)),)).encode(version=1)
    padded = encoded + bytes(MAX_SIGNATURE_BYTES - len(encoded))
    assert MultiSignature.decode(padded, version=1)
    with pytest.raises(FrameDecodeError, match="at most"):
        MultiSignature.decode(padded + b"\0", version=1)
