"""Noise IK and XX against the vectors of the official implementation, and against forgeries."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.crypto import KeyPair
from hypercore.errors import HandshakeError, LocalProtocolError
from hypercore.noise import MAX_MESSAGE_BYTES, Handshake
from hypercore.noise.curve import diffie_hellman, secret_scalar
from hypercore.noise.symmetric import hkdf2, hmac_blake2b
from support.vectors import load

VECTORS = load("transport/noise")
SESSIONS = [v for v in VECTORS if v["name"].startswith("Noise ")]
H = bytes.fromhex


def vector(prefix: str) -> dict[str, Any]:
    return next(v for v in VECTORS if v["name"].startswith(prefix))


def pair(pattern: Any = "IK", *, seed: int = 1, prologue: bytes = b"") -> tuple[Handshake, Handshake]:
    random = Random(seed)
    server = KeyPair.from_seed(random.randbytes(32))
    initiator = Handshake(
        pattern,
        initiator=True,
        static=KeyPair.from_seed(random.randbytes(32)),
        random=random.randbytes,
        prologue=prologue,
        remote_public_key=server.public_key if pattern == "IK" else None,
    )
    responder = Handshake(pattern, initiator=False, static=server, random=random.randbytes, prologue=prologue)
    return initiator, responder


def test_diffie_hellman_is_on_the_edwards_curve() -> None:
    v = vector("ed25519 DH")
    ours = KeyPair.from_seed(H(v["inputs"]["seedA"]))
    assert ours.public_key == H(v["inputs"]["publicKeyA"])
    assert secret_scalar(ours) == H(v["inputs"]["scalarA"])
    assert diffie_hellman(ours, H(v["inputs"]["publicKeyB"])) == H(v["output"])


def test_diffie_hellman_is_the_same_from_the_other_side() -> None:
    v = vector("ed25519 DH (reverse")
    theirs = KeyPair.from_seed(H(v["inputs"]["seedB"]))
    assert diffie_hellman(theirs, H(v["inputs"]["publicKeyA"])) == H(v["output"])


def test_hkdf_and_hmac_match_the_official_ones() -> None:
    v = vector("HKDF 2")
    assert [o.hex() for o in hkdf2(H(v["inputs"]["chainingKey"]), H(v["inputs"]["ikm"]))] == v["output"]
    v = vector("HKDF split")
    outputs = hkdf2(H(v["inputs"]["chainingKey"]), b"")
    assert [o[:32].hex() for o in outputs] == v["output"]
    v = vector("HMAC")
    assert hmac_blake2b(H(v["inputs"]["key"]), H(v["inputs"]["data"])).hex() == v["output"]


@pytest.mark.parametrize("v", SESSIONS, ids=lambda v: v["name"])
def test_both_sides_say_and_understand_what_the_official_ones_do(v: dict[str, Any]) -> None:
    i, out = v["inputs"], v["output"]
    pattern: Any = v["name"].split()[1]
    initiator = Handshake(
        pattern,
        initiator=True,
        static=KeyPair.from_seed(H(i["initiatorStaticSeed"])),
        random=lambda _: H(i["initiatorEphemeralSeed"]),
        prologue=H(i["prologue"]),
        remote_public_key=H(i["responderStatic"]) if pattern == "IK" else None,
    )
    responder = Handshake(
        pattern,
        initiator=False,
        static=KeyPair.from_seed(H(i["responderStaticSeed"])),
        random=lambda _: H(i["responderEphemeralSeed"]),
        prologue=H(i["prologue"]),
    )
    assert initiator.transcript_hash.hex() == out["steps"][0]["h"]
    speaker, listener = initiator, responder
    for step in out["steps"][1:]:
        message = speaker.write(H(step["payload"]))
        assert message.hex() == step["message"]
        assert speaker.transcript_hash.hex() == step["stateAfter"]["h"]
        assert listener.read(message).hex() == step["payload"]
        speaker, listener = listener, speaker
    ours, theirs = initiator.result, responder.result
    assert (ours.tx.hex(), ours.rx.hex()) == (out["initiatorTx"], out["initiatorRx"])
    assert (theirs.tx, theirs.rx) == (ours.rx, ours.tx)
    assert ours.hash.hex() == theirs.hash.hex() == out["handshakeHash"]
    assert ours.remote_public_key == theirs.public_key
    assert theirs.remote_public_key == ours.public_key
    assert ours.is_initiator and not theirs.is_initiator


def test_hyperdht_handshake_ends_in_the_official_keys() -> None:
    v, session = vector("hyperdht handshake final"), SESSIONS[0]
    assert v["output"]["message1"] == session["output"]["steps"][1]["message"]
    assert v["output"]["initiator"]["tx"][:64] == session["output"]["initiatorTx"]
    assert v["output"]["initiator"]["hash"] == session["output"]["handshakeHash"]


def test_the_initiator_is_known_after_the_first_message_of_ik() -> None:
    initiator, responder = pair("IK")
    responder.read(initiator.write(b"hello"))
    responder.write(b"")
    assert responder.remote_public_key == responder.result.remote_public_key


@given(st.integers(0, 2**32), st.sampled_from(["IK", "XX"]), st.data())
def test_one_changed_bit_anywhere_ends_the_handshake(seed: int, pattern: str, data: st.DataObject) -> None:
    """Or, in the unauthenticated first message of XX, ends it at the next one."""
    speaker, listener = pair(pattern, seed=seed)
    spoiled = data.draw(st.integers(0, 1 if pattern == "IK" else 2))
    failed = False
    for turn in range(2 if pattern == "IK" else 3):
        try:
            message = bytearray(speaker.write(b"payload"))
            if turn == spoiled:
                bit = data.draw(st.integers(0, len(message) * 8 - 1))
                message[bit // 8] ^= 1 << bit % 8
            listener.read(message)
        except HandshakeError:
            failed = True
            break
        speaker, listener = listener, speaker
    assert failed


@given(st.binary(max_size=300), st.booleans(), st.sampled_from(["IK", "XX"]))
def test_garbage_raises_only_handshake_errors(message: bytes, initiator: bool, pattern: str) -> None:
    ours, theirs = pair(pattern)
    if initiator:
        ours.write()
        reader = ours
    else:
        reader = theirs
    try:
        reader.read(message)
    except HandshakeError:
        with pytest.raises(LocalProtocolError):
            reader.read(message)


@given(st.sampled_from(["IK", "XX"]), st.data())
def test_every_truncation_is_refused(pattern: str, data: st.DataObject) -> None:
    initiator, responder = pair(pattern)
    message = initiator.write()
    size = data.draw(st.integers(0, len(message) - 1))
    with pytest.raises(HandshakeError):
        responder.read(message[:size])


def test_a_point_of_small_order_is_refused() -> None:
    _, responder = pair("IK")
    with pytest.raises(HandshakeError):
        responder.read(bytes([1]) + bytes(95))


def test_prologues_must_agree() -> None:
    random = Random(3)
    server = KeyPair.from_seed(random.randbytes(32))
    client = Handshake(
        "IK",
        initiator=True,
        static=KeyPair.from_seed(random.randbytes(32)),
        random=random.randbytes,
        prologue=b"one",
        remote_public_key=server.public_key,
    )
    responder = Handshake("IK", initiator=False, static=server, random=random.randbytes, prologue=b"two")
    with pytest.raises(HandshakeError):
        responder.read(client.write())


def test_messages_are_bounded_both_ways() -> None:
    initiator, responder = pair("XX")
    with pytest.raises(HandshakeError):
        responder.read(bytes(MAX_MESSAGE_BYTES + 1))
    with pytest.raises(LocalProtocolError):
        initiator.write(bytes(MAX_MESSAGE_BYTES))


def test_speaking_out_of_turn_is_our_own_mistake() -> None:
    initiator, responder = pair("IK")
    with pytest.raises(LocalProtocolError):
        responder.write()
    with pytest.raises(LocalProtocolError):
        initiator.read(b"")
    with pytest.raises(LocalProtocolError):
        _ = initiator.result
    with pytest.raises(LocalProtocolError):
        Handshake("IK", initiator=True, static=KeyPair.from_seed(bytes(32)), random=bytes)
