"""Leaves, parents, tree hashes and what is signed, against trees that official writers made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.crypto import discovery_key
from hypercore.manifest import Manifest
from hypercore.merkle.flat_tree import full_roots
from hypercore.merkle.hashing import leaf_hash, leaf_node, parent_node, tree_hash
from hypercore.merkle.signing import sign_head, signable, verify_head
from support.merkle_trees import Json, Publisher, from_json_node, key_pair, load, make_blocks, unhex, vector

KINDS = [c for c in load("tree") if "kind" in c["inputs"]]


def published(case: Json) -> Publisher:
    inputs = case["inputs"]
    manifest = Manifest.from_bytes(unhex(inputs["manifest"]))
    key = key_pair(1).public_key if inputs["compat"] else manifest.key()
    return Publisher([unhex(block) for block in inputs["blocks"]], manifest=manifest, key=key)


@pytest.mark.parametrize("case", KINDS, ids=lambda case: case["name"])
def test_a_core_gets_the_official_key_tree_and_signature(case: Json) -> None:
    expected = case["output"]
    publisher = published(case)
    assert publisher.key.hex() == expected["key"]
    assert discovery_key(publisher.key).hex() == expected["discoveryKey"]
    head = publisher.head
    assert (head.length, head.byte_length, head.fork) == (
        expected["length"],
        expected["byteLength"],
        expected["fork"],
    )
    assert list(head.roots) == [from_json_node(node) for node in expected["roots"]]
    assert head.hash().hex() == expected["treeHash"]
    if "nodes" in expected:
        assert publisher.nodes == {node["index"]: from_json_node(node) for node in expected["nodes"]}
    context = {"v1": publisher.key, "v0": publisher.manifest.signers[0].namespace, "compat": b""}
    assert signable(context[case["inputs"]["kind"]], head).hex() == expected["signable"]
    if head.length:
        assert head.signature is not None
        assert head.signature.hex() == expected["signature"]
        assert verify_head(publisher.manifest, publisher.key, head, head.signature)


@pytest.mark.parametrize("name", ["truncate-8-to-5", "truncate-then-append"])
def test_a_truncated_core_signs_its_new_fork(name: str) -> None:
    case = vector("tree", name)
    appended = [unhex(block) for block in case["inputs"].get("appended", [])]
    publisher = Publisher(make_blocks(8)).truncated(5, appended)
    expected = case["output"]
    assert publisher.head.fork == expected["fork"]
    assert publisher.head.byte_length == expected["byteLength"]
    assert publisher.head.hash().hex() == expected["treeHash"]
    assert signable(publisher.key, publisher.head).hex() == expected["signable"]
    assert publisher.head.signature is not None
    assert publisher.head.signature.hex() == expected["signature"]


def test_the_fork_and_the_key_are_part_of_what_is_signed() -> None:
    publisher = Publisher(make_blocks(3))
    other_fork = publisher.truncated(3)
    manifest, key, signature = publisher.manifest, publisher.key, publisher.head.signature
    assert verify_head(manifest, key, publisher.head, signature)
    assert not verify_head(manifest, key, other_fork.head, signature)
    assert not verify_head(manifest, bytes(32), publisher.head, signature)


def test_signing_is_deterministic() -> None:
    publisher = Publisher(make_blocks(3))
    again = sign_head(publisher.manifest, publisher.key, publisher.head, publisher.keys)
    assert again == publisher.head.signature


@given(st.binary(max_size=9000))
def test_the_leaf_hash_does_not_depend_on_how_the_block_is_held(block: bytes) -> None:
    expected = leaf_hash(block)
    assert leaf_hash(memoryview(block)) == expected
    assert leaf_hash(bytearray(block)) == expected
    assert leaf_node(3, block) == (6, len(block), expected)


def test_large_and_small_blocks_are_hashed_alike() -> None:
    # Two ways of hashing meet at 4096 bytes: blake2b(00 | size | block) either way
    from hashlib import blake2b

    for size in (0, 1, 4095, 4096, 4097, 65536):
        block = bytes(i & 255 for i in range(size))
        expected = blake2b(b"\0" + size.to_bytes(8, "little") + block, digest_size=32).digest()
        assert leaf_hash(block) == expected


def test_parents_do_not_care_which_child_comes_first() -> None:
    left, right = leaf_node(0, b"a"), leaf_node(1, b"bb")
    assert parent_node(left, right) == parent_node(right, left)
    assert parent_node(left, right).index == 1
    assert parent_node(left, right).size == 3


@given(st.lists(st.binary(max_size=40), max_size=40))
def test_appending_builds_the_full_roots(blocks: list[bytes]) -> None:
    publisher = Publisher(blocks)
    assert [root.index for root in publisher.head.roots] == list(full_roots(len(blocks)))
    assert publisher.head.byte_length == sum(map(len, blocks))
    assert publisher.head.hash() == tree_hash(publisher.nodes[i] for i in full_roots(len(blocks)))
