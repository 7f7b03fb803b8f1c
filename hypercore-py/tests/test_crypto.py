"""Hashes, namespaces and signatures against official vectors."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.crypto import KeyPair, blake2b_256, discovery_key, namespace, sign, verify
from support.codec_cases import Json, load, unhex

KEYS, HASHES = load("data/keys"), load("transport/hashes")


@pytest.mark.parametrize("case", [c for c in KEYS if c["name"] == "namespace"])
def test_namespaces_are_the_official_ones(case: Json) -> None:
    assert namespace(case["inputs"]["name"], case["inputs"]["index"]).hex() == case["output"]


@pytest.mark.parametrize(
    "case", [c for c in HASHES if c["name"].startswith("NS_")], ids=lambda case: case["name"]
)
def test_transport_namespaces_are_the_official_ones(case: Json) -> None:
    inputs = case["inputs"]
    assert blake2b_256(inputs["name"].encode()).hex() == inputs["base"]
    assert namespace(inputs["name"], inputs["index"]).hex() == case["output"]


@pytest.mark.parametrize("case", [c for c in KEYS + HASHES if c["name"] == "discoveryKey"])
def test_discovery_keys_are_the_official_ones(case: Json) -> None:
    key = case["inputs"].get("key") or case["inputs"]["publicKey"]
    assert discovery_key(unhex(key)).hex() == case["output"]


@pytest.mark.parametrize(
    "case", [c for c in HASHES if c["name"].startswith("blake2b-256")], ids=lambda case: case["name"]
)
def test_hashes_are_the_official_ones(case: Json) -> None:
    key = unhex(case["inputs"].get("key", ""))
    data = unhex(case["inputs"]["data"])
    assert blake2b_256(data, key=key).hex() == case["output"]
    assert blake2b_256(data[:1], data[1:], key=key).hex() == case["output"]


@pytest.mark.parametrize(
    "case", [c for c in KEYS + HASHES if c["name"] in ("keypair", "ed25519 keypair from seed")]
)
def test_key_pairs_are_the_official_ones(case: Json) -> None:
    pair = KeyPair.from_seed(unhex(case["inputs"]["seed"]))
    assert pair.public_key.hex() == case["output"]["publicKey"]
    assert pair.seed.hex() == case["inputs"]["seed"]
    if "secretKey" in case["output"]:
        assert pair.secret_key.hex() == case["output"]["secretKey"]


@given(st.lists(st.binary(max_size=30), max_size=4), st.binary(max_size=64))
def test_a_hash_of_parts_is_the_hash_of_their_concatenation(parts: list[bytes], key: bytes) -> None:
    expected = blake2b(b"".join(parts), digest_size=32, key=key).digest()
    assert blake2b_256(*parts, key=key) == expected


@given(st.binary(max_size=100), st.integers(0, 511))
def test_a_signature_holds_for_its_message_and_key_only(message: bytes, bit: int) -> None:
    pair, other = KeyPair.from_seed(b"\1" * 32), KeyPair.from_seed(b"\2" * 32)
    signature = sign(message, pair.secret_key)
    assert len(signature) == 64
    assert verify(message, signature, pair.public_key)
    assert not verify(message + b"x", signature, pair.public_key)
    assert not verify(message, signature, other.public_key)
    bent = bytearray(signature)
    bent[bit >> 3] ^= 1 << (bit & 7)
    assert not verify(message, bytes(bent), pair.public_key)


@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=40))
def test_verify_never_raises(message: bytes, signature: bytes, public_key: bytes) -> None:
    assert not verify(message, signature, public_key)
