"""Secret stream: official wire bytes, frames in any pieces, bounds, and the XX handshake in the stream."""

from __future__ import annotations

import sys
import tracemalloc
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.connection import MAX_FRAME_BYTES
from hypercore.crypto import KeyPair
from hypercore.errors import HandshakeError, LocalProtocolError, RemoteProtocolError
from hypercore.noise import HandshakeResult
from hypercore.secretstream import (
    MAX_MESSAGE_BYTES,
    FrameParser,
    SecretStream,
    UnorderedBox,
    XXHandshake,
    stream_id,
)
from hypercore.secretstream import sodium as sodium_module
from hypercore.secretstream.framing import JOIN_BYTES, LENGTH_BYTES, MAX_SPARE_BYTES, frame
from support.vectors import load

VECTORS = load("transport/secret-stream")
HASHES = load("transport/hashes")
H = bytes.fromhex
IMPLEMENTATIONS = [
    (sodium_module.CffiPush, sodium_module.CffiPull),
    (sodium_module.BindingsPush, sodium_module.BindingsPull),
]


def vector(prefix: str) -> dict[str, Any]:
    return next(v for v in VECTORS if v["name"].startswith(prefix))


def results() -> tuple[HandshakeResult, HandshakeResult]:
    tx, rx, digest = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 64
    ours = HandshakeResult(tx, rx, digest, True, bytes([4]) * 32, bytes([5]) * 32)
    return ours, HandshakeResult(rx, tx, digest, False, ours.remote_public_key, ours.public_key)


def pair(seed: int = 0) -> tuple[SecretStream, SecretStream]:
    random = Random(seed).randbytes
    ours, theirs = results()
    return SecretStream(ours, random), SecretStream(theirs, random)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` cut into pieces of the given sizes, over and over."""
    out, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        out.append(data[at : at + size])
        at += size
        turn += 1
    return out


@pytest.mark.parametrize(("push_type", "pull_type"), IMPLEMENTATIONS)
def test_official_ciphertexts_are_made_and_read(push_type: Any, pull_type: Any) -> None:
    v = vector("secretstream pushes")
    key, header = H(v["inputs"]["key"]), H(v["inputs"]["header"])
    push, pull = push_type(key, header), pull_type(key, header)
    for message in v["output"]:
        plain, cipher = H(message["plain"]), H(message["cipher"])
        assert push.encrypt(b"abc", plain) == b"abc" + cipher
        assert pull.decrypt(bytearray(b"xx" + cipher + b"yyy"), 2, 2 + len(cipher)) == plain


@pytest.mark.parametrize(("push_type", "pull_type"), IMPLEMENTATIONS)
def test_a_ciphertext_that_was_touched_or_cut_is_refused(push_type: Any, pull_type: Any) -> None:
    key, header = bytes(32), bytes(24)
    out = bytearray(push_type(key, header).encrypt(b"", b"hello"))
    for at in range(len(out)):
        spoiled = bytearray(out)
        spoiled[at] ^= 0x40
        with pytest.raises(RemoteProtocolError):
            pull_type(key, header).decrypt(spoiled, 0, len(spoiled))
    for size in range(len(out)):
        with pytest.raises(RemoteProtocolError):
            pull_type(key, header).decrypt(bytearray(out), 0, size)
    assert pull_type(key, header).decrypt(out, 0, len(out)) == b"hello"


@pytest.mark.parametrize(("push_type", "pull_type"), IMPLEMENTATIONS)
def test_every_kind_of_buffer_is_encrypted_alike_into_bytes_of_its_own(
    push_type: Any, pull_type: Any
) -> None:
    plain = bytes(range(256)) * 20
    made = [
        push_type(bytes(32), bytes(24)).encrypt(b"\1\2\3", kind(plain))
        for kind in (bytes, bytearray, memoryview)
        for _ in range(2)
    ]
    assert all(type(out) is bytes for out in made)
    assert set(made) == {made[0]}
    assert len({id(out) for out in made}) == len(made)
    assert pull_type(bytes(32), bytes(24)).decrypt(bytearray(made[0]), 3, len(made[0])) == plain


@pytest.mark.parametrize(("push_type", "pull_type"), IMPLEMENTATIONS)
def test_a_key_of_another_length_is_our_own_mistake(push_type: Any, pull_type: Any) -> None:
    with pytest.raises(ValueError, match="key"):
        push_type(bytes(31), bytes(24))


@pytest.mark.parametrize("name", ["initiator->responder", "responder->initiator"])
def test_the_wire_is_the_official_one_byte_for_byte(name: str) -> None:
    v = vector(f"secret-stream wire {name}")
    i, initiator = v["inputs"], name.startswith("initiator")
    digest, key = H(i["handshakeHash"]), H(i["tx"])
    sender = SecretStream(
        HandshakeResult(key, bytes(32), digest, initiator, b"", b""), lambda _: H(i["header"])
    )
    receiver = SecretStream(HandshakeResult(bytes(32), key, digest, not initiator, b"", b""), bytes)
    header, *messages = v["output"]
    assert sender.start().hex() == header["wire"]
    assert receiver.decrypt(H(header["wire"])) == []
    for message in messages:
        assert sender.encrypt(H(message["plain"])).hex() == message["wire"]
        expected = [H(message["plain"])] if message["plain"] else []
        assert receiver.decrypt(H(message["wire"])) == expected


def test_stream_ids_match_the_official_ones() -> None:
    for role in (True, False):
        name = f"secret-stream id {'initiator' if role else 'responder'}"
        v = next(v for v in HASHES if v["name"] == name)
        assert stream_id(H(v["inputs"]["handshakeHash"]), is_initiator=role).hex() == v["output"]


@given(
    st.integers(0, 2**32),
    st.lists(st.one_of(st.integers(0, 40), st.integers(0, 70_000)), max_size=8),
    st.lists(st.integers(1, 5000), min_size=1, max_size=5),
)
def test_messages_survive_any_cutting_of_the_stream(seed: int, lengths: list[int], sizes: list[int]) -> None:
    random = Random(seed)
    messages = [random.randbytes(length) for length in lengths]
    sender, receiver = pair()
    wire = sender.start() + b"".join(sender.encrypt(m) for m in messages)
    got = []
    for piece in pieces(wire, sizes):
        got += receiver.decrypt(piece)
    assert got == [m for m in messages if m]
    sender, receiver = pair()
    assert receiver.decrypt_chunks([memoryview(p) for p in pieces(wire, sizes)]) == got


def test_both_directions_have_their_own_keys() -> None:
    ours, theirs = pair()
    ours.decrypt(theirs.start())
    theirs.decrypt(ours.start())
    assert theirs.decrypt(ours.encrypt(b"ping")) == [b"ping"]
    assert ours.decrypt(theirs.encrypt(b"pong")) == [b"pong"]
    with pytest.raises(RemoteProtocolError):
        ours.decrypt(ours.encrypt(b"an echo of our own"))


def test_keep_alives_are_20_bytes_and_not_delivered() -> None:
    sender, receiver = pair()
    receiver.decrypt(sender.start())
    beat = sender.encrypt(b"")
    assert (len(beat), bytes(beat[:3])) == (20, b"\x11\x00\x00")
    assert receiver.decrypt(beat) == []


def test_a_header_of_another_length_is_refused_before_its_body_arrives() -> None:
    for size in (0, 55, 57, MAX_FRAME_BYTES):
        _, receiver = pair()
        with pytest.raises(HandshakeError):
            receiver.decrypt(size.to_bytes(3, "little"))


def test_a_header_of_another_handshake_or_of_our_own_role_is_refused() -> None:
    sender, receiver = pair()
    spoiled = bytearray(sender.start())
    spoiled[3] ^= 1
    with pytest.raises(HandshakeError):
        receiver.decrypt(spoiled)
    _, receiver = pair()
    with pytest.raises(HandshakeError):
        receiver.decrypt(receiver.start())


def test_a_failed_stream_stays_failed() -> None:
    sender, receiver = pair()
    receiver.decrypt(sender.start())
    bad = frame(bytes(30))
    assert receiver.decrypt(bytes(sender.encrypt(b"good")) + bad + sender.encrypt(b"behind")) == [b"good"]
    assert receiver.error is not None
    for _ in range(2):
        with pytest.raises(RemoteProtocolError):
            receiver.decrypt(sender.encrypt(b"too late"))


def test_a_message_shorter_than_its_mac_is_refused() -> None:
    sender, receiver = pair()
    with pytest.raises(RemoteProtocolError):
        receiver.decrypt(sender.start() + frame(bytes(16)))


@given(st.binary(max_size=400))
def test_garbage_behind_the_header_raises_only_remote_errors(garbage: bytes) -> None:
    sender, receiver = pair()
    receiver.decrypt(sender.start())
    with suppress(RemoteProtocolError):
        assert receiver.decrypt(garbage) == []


def test_the_longest_message_fits_and_a_longer_one_is_refused() -> None:
    sender, receiver = pair()
    message = bytes(MAX_MESSAGE_BYTES)
    receiver.decrypt(sender.start())
    wire = sender.encrypt(message)
    assert wire[:3] == b"\xff\xff\xff"
    assert receiver.decrypt(wire) == [message]
    with pytest.raises(LocalProtocolError):
        sender.encrypt(bytes(MAX_MESSAGE_BYTES + 1))
    with pytest.raises(LocalProtocolError):
        frame(bytes(MAX_FRAME_BYTES + 1))


def test_what_is_held_for_a_peer_is_bounded_by_one_frame() -> None:
    parser = FrameParser()
    whole = frame(bytes(1000))
    for _ in range(200):
        parser.feed((whole, whole[:500]))
        assert parser.next_frame() is not None
        parser.feed((whole[500:],))
        assert parser.next_frame() is not None
        assert parser.next_frame() is None
        assert len(parser.buffer) <= 2 * len(whole)


def test_an_incomplete_frame_grows_in_place() -> None:
    parser = FrameParser()
    body = bytes(range(256)) * 8192
    whole = memoryview(frame(body))
    packets = [whole[at : at + 1400] for at in range(0, len(whole), 1400)]
    buffer = parser.buffer
    for number, packet in enumerate(packets, 1):
        assert parser.next_frame() is None
        parser.feed((packet,))
        assert parser.buffer is buffer
        assert len(buffer) == parser.held_bytes == min(1400 * number, len(whole))
    start, end = parser.next_frame() or (0, 0)
    assert parser.buffer[start:end] == body
    assert (parser.held_bytes, parser.next_frame()) == (0, None)


def test_bytes_behind_a_frame_that_waits_are_not_copied_with_each_feed() -> None:
    parser = FrameParser()
    bodies = [bytes([number]) * 5000 for number in range(200)]
    parser.feed((frame(bodies[0]),))
    whole = memoryview(b"".join(map(frame, bodies[1:])))
    for at in range(0, len(whole), 1400):
        parser.feed((whole[at : at + 1400],))
        assert len(parser.buffer) == len(frame(bodies[0]))
    for body in bodies:
        start, end = parser.next_frame() or (0, 0)
        assert parser.buffer[start:end] == body
        assert len(parser.buffer) <= 2 * JOIN_BYTES
    assert (parser.held_bytes, parser.next_frame()) == (0, None)


@pytest.mark.slow
@pytest.mark.parametrize("waiting", [b"", frame(b"waits")], ids=["nothing waits", "a frame waits"])
def test_many_short_chunks_are_held_in_few_objects(waiting: bytes) -> None:
    parser = FrameParser()
    if waiting:
        parser.feed((waiting,))
    parser.feed((frame(bytes(100_000))[:3],))
    tracemalloc.start()
    try:
        for _ in range(90_000):
            parser.feed((bytes(1),))
        assert parser.held_bytes == len(waiting) + 90_003
        assert tracemalloc.get_traced_memory()[0] < 1.5 * parser.held_bytes
    finally:
        tracemalloc.stop()
    parser.feed((bytes(9_990), bytes(10), frame(b"next")))
    if waiting:
        start, end = parser.next_frame() or (0, 0)
        assert parser.buffer[start:end] == b"waits"
    start, end = parser.next_frame() or (0, 0)
    assert parser.buffer[start:end] == bytes(100_000)
    start, end = parser.next_frame() or (0, 0)
    assert parser.buffer[start:end] == b"next"


def test_a_frame_that_was_given_out_is_not_kept_beside_an_incomplete_one() -> None:
    parser = FrameParser()
    parser.feed((frame(bytes(1_000_000)), frame(bytes(500))[:100]))
    assert parser.next_frame() is not None
    parser.feed((b"",))
    assert parser.held_bytes == 100
    assert sys.getsizeof(parser.buffer) < 1000


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=30), st.lists(st.integers(1, 2000), min_size=1))
def test_frames_come_out_as_they_went_in_however_they_are_cut(lengths: list[int], sizes: list[int]) -> None:
    bodies = [bytes([number % 251]) * size for number, size in enumerate(lengths)]
    data = b"".join(map(frame, bodies))
    parser = FrameParser()
    got: list[bytes] = []
    chunks = pieces(data, sizes)
    for at in range(0, len(chunks), 3):
        parser.feed(chunks[at : at + 3])
        while parser.complete:
            start, end = parser.next_frame() or (0, 0)
            got.append(bytes(parser.buffer[start:end]))
    assert (got, parser.held_bytes) == (bodies, 0)
    parser.feed((b"\5\0\0ab", b"c"))
    assert parser.next_frame() is None
    assert (parser.take_rest(), parser.held_bytes) == (b"\5\0\0abc", 0)


@pytest.mark.parametrize(("push_type", "pull_type"), IMPLEMENTATIONS)
def test_a_plaintext_is_in_bytes_of_its_own(push_type: Any, pull_type: Any) -> None:
    key, header = bytes(32), bytes(24)
    push, pull = push_type(key, header), pull_type(key, header)
    for plain in (b"", b"a", b"b", b"ab"):
        cipher = push.encrypt(b"", plain)
        assert pull.decrypt(bytearray(cipher), 0, len(cipher)) == plain
    assert (bytes(0), bytes(1)) == (b"", b"\0")


def test_unordered_messages_match_the_official_envelope() -> None:
    v = vector("secret-stream unordered")
    i = v["inputs"]
    result = HandshakeResult(b"", b"", H(i["handshakeHash"]), True, b"", b"")
    start = (int.from_bytes(H(i["counter8"]), "little") - 1).to_bytes(8, "little")
    assert UnorderedBox(result, lambda _: start).seal(H(i["plain"])).hex() == v["output"]
    other = UnorderedBox(result._replace(is_initiator=False), bytes)
    assert other.open(H(v["output"])) == H(i["plain"])
    assert other.open(H(v["output"])[:-1]) is None
    assert other.open(b"short") is None


@given(st.lists(st.integers(1, 90), min_size=1, max_size=4), st.integers(0, 2**32))
def test_xx_handshake_in_the_stream_in_any_pieces(sizes: list[int], seed: int) -> None:
    random = Random(seed).randbytes
    keys = [KeyPair.from_seed(random(32)) for _ in range(2)]
    initiator = XXHandshake(is_initiator=True, key_pair=keys[0], random=random)
    responder = XXHandshake(is_initiator=False, key_pair=keys[1], random=random)
    assert responder.start() == b""
    second = b"".join(responder.respond(p) for p in pieces(initiator.start(), sizes))
    third = b"".join(initiator.respond(p) for p in pieces(second, sizes))
    assert initiator.result is not None
    ours = SecretStream(initiator.result, random)
    wire = third + ours.start() + ours.encrypt(b"first words")
    cut = pieces(wire, sizes)
    while responder.result is None:
        assert responder.respond(cut.pop(0)) == b""
    theirs = SecretStream(responder.result, random)
    got = theirs.decrypt(responder.take_rest())
    for piece in cut:
        got += theirs.decrypt(piece)
    assert got == [b"first words"]
    assert responder.result.remote_public_key == keys[0].public_key
    assert initiator.result.remote_public_key == keys[1].public_key


def test_xx_frames_of_a_wrong_size_are_refused_at_once() -> None:
    key_pair = KeyPair.from_seed(bytes(32))
    for role, size in ((True, 95), (False, 33), (False, MAX_FRAME_BYTES)):
        handshake = XXHandshake(is_initiator=role, key_pair=key_pair, random=bytes)
        handshake.start()
        with pytest.raises(HandshakeError):
            handshake.respond(size.to_bytes(3, "little"))
        with pytest.raises(LocalProtocolError):
            handshake.take_rest()


def test_memory_of_a_long_frame_is_freed_when_it_was_returned() -> None:
    parser = FrameParser()
    for size in (MAX_SPARE_BYTES // 2, 4 * MAX_SPARE_BYTES):
        parser.feed([frame(bytes(size))])
        start, end = parser.next_frame() or (0, 0)
        assert end - start == size
        parser.release()
        assert len(parser.buffer) == (0 if size > MAX_SPARE_BYTES else LENGTH_BYTES + size)
    parser.feed([frame(bytes(4 * MAX_SPARE_BYTES)), frame(b"next")])
    parser.next_frame()
    parser.release()
    start, end = parser.next_frame() or (0, 0)
    assert parser.buffer[start:end] == b"next", "what follows stays"
