"""Conversations of official peers, recorded (vectors/data/transcripts.json), with us in the place of the
uploader.

The downloader's half is played back as it was. Ed25519 signatures are deterministic, so every answer must be
the same, byte for byte.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from hypercore.codec import Reader, Writer
from hypercore.errors import InvalidCapability
from hypercore.mux import Muxer
from hypercore.replication import PROTOCOL
from hypercore.testing.cores import sample_blocks
from hypercore.wire.control import BitfieldMessage, NoData, Range, Sync
from hypercore.wire.data import Data
from hypercore.wire.handshake import capability
from hypercore.wire.registry import MESSAGES, Message
from support.replication_world import Site, World
from support.vectors import load_named

VECTORS = load_named("data/transcripts")
ANSWERS = (Data, NoData, BitfieldMessage)


def entries(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(channel, type, payload) of all messages in one, out of a batch if it is one."""
    r = Reader(message)
    channel, type_id = r.uint(), r.uint()
    if (channel, type_id) != (0, 0):
        yield channel, type_id, r.rest()
        return
    channel = r.uint()
    while r.remaining:
        entry = Reader(r.buffer())
        if entry.remaining:
            yield channel, entry.uint(), entry.rest()
        else:
            channel = r.uint()


def frames(messages: list[bytes]) -> list[Message]:
    """The replication messages among all that was sent."""
    found = [entry for message in messages for entry in entries(message)]
    return [MESSAGES[type_id].decode(Reader(payload)) for channel, type_id, payload in found if channel]


def recorded(name: str, side: str) -> list[bytes]:
    return [bytes.fromhex(line["hex"]) for line in VECTORS[name]["output"] if line["from"] == side]


@pytest.mark.parametrize("name", VECTORS)
def test_recorded_messages_are_what_we_would_write(name: str) -> None:
    for side in ("initiator", "responder"):
        for message in recorded(name, side):
            for channel, type_id, payload in entries(message):
                if channel:
                    w = Writer()
                    MESSAGES[type_id].decode(Reader(payload)).encode(w)
                    assert bytes(w) == payload


class Stage:
    """A site of ours in the place of the recorded responder."""

    def __init__(self, site: Site, case: dict[str, Any]) -> None:
        self.site = site
        self.reported: list[Message] = []
        inputs = case["inputs"]
        handshake_hash = bytes.fromhex(inputs.get("handshakeHash", "00" * 64))
        self.muxer = Muxer(is_initiator=False, handshake_hash=handshake_hash)
        assert site.core.key.hex() == inputs.get("key", site.core.key.hex())
        site.replicator.attach(self.muxer, 0)

    def play(self, name: str) -> list[Message]:
        """Let the recorded downloader speak; returns what we say to that."""
        reported: list[Message] = []
        for message in self.recorded_for_us(name):
            self.muxer.receive(message, 0)
            reported += self.listen()
        return reported

    def recorded_for_us(self, name: str) -> Iterator[bytes]:
        """Where the handshake hash was not recorded, the capability is exchanged for one that holds here."""
        for message in recorded(name, "initiator"):
            if message.startswith(b"\0\1") and "handshakeHash" not in VECTORS[name]["inputs"]:
                proof = capability(self.site.core.key, self.muxer.handshake_hash, sender_is_initiator=True)
                yield message[:-32] + proof
            else:
                yield message

    def listen(self) -> list[Message]:
        reported: list[Message] = []
        while messages := self.muxer.take_output(0):
            reported += frames(messages)
        self.reported += reported
        return reported


def answers(messages: list[Message]) -> list[Message]:
    return [message for message in messages if isinstance(message, ANSWERS)]


def by_request(messages: list[Message]) -> list[Message]:
    """In an order that does not depend on when an answer was ready."""
    return sorted(answers(messages), key=lambda m: (type(m).__name__, getattr(m, "request", 0), str(m)))


def syncs(messages: list[Message]) -> list[Message]:
    """What was reported about the head, without saying the same thing twice in a row."""
    found = [message for message in messages if isinstance(message, Sync)]
    return [sync for at, sync in enumerate(found) if at == 0 or found[at - 1] != sync]


def writer_of(count: int) -> Site:
    return World().writer(count)  # the key pair of its seed 1 is that of the recorded writer


def test_a_whole_download_live_appends_and_truncations() -> None:
    site = writer_of(20)
    stage = Stage(site, VECTORS["full-20"])

    def check(name: str, reported: list[Message], *, head: bool = True) -> None:
        expected = frames(recorded(name, "responder"))
        assert by_request(reported) == by_request(expected)
        if head:
            assert syncs(reported)[-1] == syncs(expected)[-1]

    reported = stage.play("full-20")
    check("full-20", reported)
    assert [message for message in reported if isinstance(message, Range)] == [Range(start=0, length=20)]
    for name, blocks in (("live-append-1", ["live-1"]), ("live-append-3", ["live-2", "live-3", "live-4"])):
        site.append(*(text.encode() for text in blocks))
        site.flush()
        announced = stage.listen()
        assert Range(start=0, length=site.core.length) in announced
        check(name, announced + stage.play(name))
    site.truncate(10)
    site.flush()
    check("truncate-24-to-10", stage.listen() + stage.play("truncate-24-to-10"))
    site.append(b"f1-10", b"f1-11")
    site.flush()
    check("append-after-truncate", stage.listen() + stage.play("append-after-truncate"))

    site.truncate(5)
    site.flush()
    name = "truncate+append-fast"
    request, *others = recorded(name, "initiator")
    reported = stage.listen()
    stage.muxer.receive(request, 0)
    reported += stage.listen()
    site.append(b"f2-5", b"f2-6", b"f2-7")
    site.flush()
    reported += stage.listen()
    for message in others:
        stage.muxer.receive(message, 0)
        reported += stage.listen()
    check(name, reported)


def test_a_reader_that_meets_the_writer_again_on_another_fork() -> None:
    site = writer_of(24)
    site.truncate(10)
    site.append(*(f"n{number}".encode() for number in range(20)))
    site.flush()
    reported = Stage(site, VECTORS["reorg-offline"]).play("reorg-offline")
    assert by_request(reported) == by_request(frames(recorded("reorg-offline", "responder")))


def test_a_seeder_of_some_blocks() -> None:
    world = World()
    writer = world.writer(100)
    have = [*range(5), *range(40, 45)]
    site = world.reader(writer.core.key, source=writer.core, have=have)
    reported = Stage(site, VECTORS["sparse-seeder"]).play("sparse-seeder")
    assert by_request(reported) == by_request(frames(recorded("sparse-seeder", "responder")))


POKES = [name for name in VECTORS if name.startswith("poke-")]


def test_an_official_seeder_that_is_poked_at() -> None:
    """Single requests and wants of every kind, odd ones among them, to a core of 10 blocks without the
    sixth."""
    site = writer_of(10)
    site.core.clear(6, 7)
    site.flush()
    site.replicator.download_ranges = []
    stage = Stage(site, VECTORS["poke-hello"])
    for name in POKES:
        if name == "poke-append-live":
            site.append(b"appended")
            site.flush()
        reported = stage.listen() + stage.play(name)
        expected = frames(recorded(name, "responder"))
        assert by_request(reported) == by_request(expected), name
        if name not in ("poke-sync-equal", "poke-sync-not-downloading"):
            assert [m for m in reported if isinstance(m, Range)] == [
                m for m in expected if isinstance(m, Range)
            ], name
        if syncs(expected):
            assert syncs(reported)[-1] == syncs(expected)[-1], name


def test_a_wrong_capability_ends_the_connection() -> None:
    site = writer_of(2)
    muxer = Muxer(is_initiator=False, handshake_hash=bytes(64))
    site.replicator.attach(muxer, 0)
    assert VECTORS["bad-capability"]["inputs"]["streamDestroyed"]
    with pytest.raises(InvalidCapability):
        muxer.receive(recorded("bad-capability", "initiator")[0], 0)


def test_an_unknown_core_is_rejected_as_an_official_store_does() -> None:
    muxer = Muxer(is_initiator=False, handshake_hash=bytes(64))
    muxer.on_open(PROTOCOL, lambda name, now: False)
    (first, *_) = recorded("corestore-unknown-core", "initiator")
    muxer.receive(first, 0)
    assert muxer.take_output(0) == recorded("corestore-unknown-core", "responder")


def test_the_recorded_capabilities_are_ours() -> None:
    """Both opens of the first transcript, built by us."""
    case = VECTORS["full-20"]
    for side, initiator in (("initiator", True), ("responder", False)):
        site = World().writer(20) if side == "responder" else World().reader(writer_of(1).core.key)
        muxer = Muxer(is_initiator=initiator, handshake_hash=bytes.fromhex(case["inputs"]["handshakeHash"]))
        site.replicator.attach(muxer, 0)
        assert muxer.take_output(0) == recorded("full-20", side)[:1]


def test_sample_blocks_are_those_of_the_recorded_cores() -> None:
    data = [m for m in frames(recorded("full-20", "responder")) if isinstance(m, Data) and m.block]
    assert {m.block.index: m.block.value for m in data} == dict(enumerate(sample_blocks(20)))
