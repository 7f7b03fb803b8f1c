"""Block encryption against official vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore._salsa20 import xsalsa20_first_bytes
from hypercore.encryption import PADDING, BlockCipher
from hypercore.errors import RemoteProtocolError
from support.codec_cases import Json, load, unhex

OFFICIAL = [c for c in load("data/keys") if c["name"] == "block-encryption"]


def cipher_of(case: Json) -> BlockCipher:
    inputs = case["inputs"]
    return BlockCipher(unhex(inputs["hypercoreKey"]), unhex(inputs["encryptionKey"]), compat=inputs["compat"])


@pytest.mark.parametrize("case", OFFICIAL, ids=lambda case: "compat" if case["inputs"]["compat"] else "v1")
def test_a_block_is_encrypted_as_by_the_official_code(case: Json) -> None:
    inputs, cipher = case["inputs"], cipher_of(case)
    encrypted = cipher.encrypt(inputs["index"], inputs["fork"], unhex(inputs["plaintext"]))
    assert encrypted.hex() == case["output"]["ciphertextBlock"]
    assert cipher.decrypt(inputs["index"], encrypted).hex() == case["output"]["decrypted"]


def test_an_official_encrypted_drive_decrypts_to_a_bee() -> None:
    case = next(c for c in load("data/drive") if c["name"] == "encrypted-drive")
    expected = case["output"]
    cipher = BlockCipher(unhex(expected["driveKey"]), unhex(case["inputs"]["encryptionKey"]))
    assert b"hyperbee" in cipher.decrypt(0, unhex(expected["dbBlocks"][0]))


def test_the_first_bytes_of_the_stream_are_those_of_the_reference() -> None:
    # NaCl's own test of crypto_stream_xsalsa20 (tests/stream3.c)
    key = unhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
    nonce = unhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
    assert xsalsa20_first_bytes(key, nonce).hex() == (
        "eea6a7251c1e72916d11c2cb214d3c252539121d8e234e652d651fa4c8cff880"
    )


@given(
    st.binary(max_size=200),
    st.integers(0, 2**53 - 1),
    st.integers(0, 2**53 - 1),
    st.booleans(),
)
def test_a_block_survives_a_round_trip(block: bytes, index: int, fork: int, compat: bool) -> None:
    cipher = BlockCipher(b"\1" * 32, b"\2" * 32, compat=compat)
    encrypted = cipher.encrypt(index, fork, block)
    assert len(encrypted) == len(block) + PADDING
    assert cipher.decrypt(index, encrypted) == block


def test_blocks_forks_and_cores_are_encrypted_differently() -> None:
    block, key = bytes(64), b"\2" * 32
    seen = {
        BlockCipher(core, key, compat=compat).encrypt(index, fork, block)
        for core in (bytes(32), b"\1" * 32)
        for compat in (False, True)
        for index in (0, 1)
        for fork in (0, 1)
    }
    assert len(seen) == 16


@pytest.mark.parametrize("size", range(PADDING))
def test_a_block_shorter_than_its_padding_is_the_peers_fault(size: int) -> None:
    with pytest.raises(RemoteProtocolError):
        BlockCipher(bytes(32), bytes(32)).decrypt(0, bytes(size))
