"""What a site reports about its blocks, to a scripted peer."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest

from hypercore.bitfield import Bitfield
from hypercore.codec import Writer
from hypercore.core import Core
from hypercore.replication.block_announcer import MAX_RUNS, bitfields
from hypercore.replication.config import LAST_BLOCKS, WANT_BATCH
from hypercore.testing.cores import download
from hypercore.wire.control import BitfieldMessage, Range, Sync, Unwant, Want
from support.replication_world import FLUSH_AFTER, Script, World, of
from support.vectors import load

VECTORS = load("data/bitfield")


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_bitfields_are_those_of_the_official_peer(case: dict[str, Any]) -> None:
    have = Bitfield()
    for start, end in case["inputs"]["setRanges"]:
        have.set_range(start, end)
    want = case["inputs"]["want"]
    found = list(bitfields(have, want["start"], want["start"] + want["length"]))
    assert [(message.start, len(message.words) // 4) for message in found] == [
        (expected["start"], expected["words"]) for expected in case["output"]
    ]
    for message, expected in zip(found, case["output"], strict=True):
        words = [
            int.from_bytes(message.words[at : at + 4], "little") for at in range(0, len(message.words), 4)
        ]
        assert [[at, word] for at, word in enumerate(words) if word] == expected["nonzero"]
        if "hexIfSmall" in expected:
            w = Writer()
            message.encode(w)
            assert bytes(w).hex() == expected["hexIfSmall"]


class Partial(NamedTuple):
    """A site that holds some blocks of a source and fetches no more by itself."""

    script: Script
    source: Core

    def fetch(self, indices: Iterable[int]) -> None:
        download(self.source, self.script.site.core, indices)


def partial(world: World, length: int, have: Iterable[int]) -> Partial:
    writer = world.writer(length)
    site = world.reader(writer.core.key, source=writer.core, have=have)
    site.replicator.download_ranges = []
    return Partial(world.script(site), writer.core)


def whole_sync(length: int, acked: int) -> Sync:
    return Sync(fork=0, length=length, remote_length=acked, has_manifest=True)


def test_the_first_words_are_a_sync_and_the_leading_run() -> None:
    world = World()
    assert world.script(world.writer(20)).greeting == [
        Sync(fork=0, length=20, remote_length=0, can_upgrade=True, has_manifest=True),
        Range(start=0, length=20),
    ]


def test_an_empty_core_says_only_that() -> None:
    world = World()
    key = world.writer(1).core.key
    assert world.script(world.reader(key)).greeting == [
        Sync(fork=0, length=0, remote_length=0, can_upgrade=True)
    ]


def test_blocks_are_announced_when_they_are_durable_and_not_before() -> None:
    world = World()
    part = partial(world, 300, [])
    script = part.script
    script.send(whole_sync(0, 300), Want(start=0, length=WANT_BATCH))
    part.fetch([7])
    assert script.turn() == []
    assert script.wait(FLUSH_AFTER) == [Range(start=7)]


@pytest.mark.slow
def test_new_blocks_are_announced_only_to_peers_that_want_their_region() -> None:
    world = World()
    part = partial(world, 5000, [])
    script = part.script
    script.send(whole_sync(0, 5000))
    part.fetch([7])
    assert script.wait(1) == []
    script.send(Want(start=0, length=32))
    part.fetch([8, 40])
    assert script.wait(1) == [Range(start=8)]
    script.send(Unwant(start=0, length=32))
    part.fetch([9])
    assert script.wait(1) == []


def test_the_last_blocks_are_announced_to_every_peer() -> None:
    world = World()
    part = partial(world, 5000, [])
    script = part.script
    script.send(whole_sync(0, 5000))
    part.fetch([5000 - LAST_BLOCKS - 1])
    assert script.wait(1) == []
    part.fetch([5000 - LAST_BLOCKS, 4999])
    assert script.wait(1) == [Range(start=5000 - LAST_BLOCKS), Range(start=4999)]


def test_what_the_peer_has_is_not_announced_to_it() -> None:
    world = World()
    part = partial(world, 100, [])
    script = part.script
    script.send(whole_sync(0, 100), Range(start=0, length=50))
    part.fetch([30, 60])
    assert script.wait(1) == [Range(start=60)]


def test_becoming_complete_is_announced_to_every_peer_as_one_range_and_once() -> None:
    world = World()
    part = partial(world, 5000, list(range(4990)))
    script = part.script
    script.send(whole_sync(0, 5000), Range(start=0, length=5000))
    part.fetch(range(5000))
    assert of(Range, script.wait(1)) == [Range(start=0, length=5000)]
    assert script.wait(60) == []


def test_a_want_is_answered_from_what_is_durable() -> None:
    world = World()
    part = partial(world, 100, [0, 1, 2, 40])
    script = part.script
    part.fetch([50])
    (answer,) = script.send(Want(start=0, length=WANT_BATCH))
    assert answer == BitfieldMessage(start=0, words=bytes([7, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))


def test_a_want_inside_of_the_leading_run_is_answered_by_it() -> None:
    world = World()
    part = partial(world, 100, list(range(40)))
    script = part.script
    assert script.send(Want(start=0, length=32)) == [Range(start=0, length=40)]
    assert script.send(Want(start=5, length=60, any_=True)) == [Range(start=0, length=40)]
    assert script.send(Want(start=70, length=10, any_=True)) == []


def test_any_block_will_do_for_an_any_want() -> None:
    world = World()
    part = partial(world, 100, [63, 64, 65])
    script = part.script
    assert script.send(Want(start=60, length=20, any_=True)) == [Range(start=63)]


def test_a_want_of_too_much_is_ignored() -> None:
    world = World()
    part = partial(world, 100, [1])
    script = part.script
    assert script.send(Want(start=0, length=2 * WANT_BATCH)) == []


def test_a_want_beyond_the_end_is_not_answered() -> None:
    world = World()
    part = partial(world, 100, [1])
    script = part.script
    assert script.send(Want(start=WANT_BATCH, length=WANT_BATCH)) == []


def test_a_lost_block_is_taken_back_and_what_lies_above_it_is_announced_again() -> None:
    """An official receiver forgets all that only its watermark covered, from the lost block on."""
    world = World()
    site = world.writer(100)
    site.replicator.set_downloading(False, world.now)
    script = world.script(site)
    script.send(whole_sync(0, 100))
    site.core.clear(40, 41)
    assert script.turn() == [Range(start=40, drop=True), Range(start=41, length=59)]
    site.core.clear(10, 12)
    site.core.clear(20, 21)
    assert script.turn() == [
        Range(start=10, length=2, drop=True),
        Range(start=20, drop=True),
        Range(start=12, length=8),
        Range(start=21, length=19),
        Range(start=41, length=59),
    ]


def test_many_holes_are_announced_again_as_a_bitfield() -> None:
    world = World()
    site = world.writer(1000)
    site.replicator.set_downloading(False, world.now)
    script = world.script(site)
    script.send(whole_sync(0, 1000))
    for index in range(0, 4 * MAX_RUNS, 2):
        site.core.clear(index, index + 1)
    *drops, field = script.turn()
    assert all(message.drop for message in drops)
    assert len(drops) == 2 * MAX_RUNS
    assert isinstance(field, BitfieldMessage)
    assert field == next(bitfields(site.core.durable, 1, 1000))


def test_a_peer_that_does_not_read_gets_the_other_announcements_once_it_reads() -> None:
    world = World()
    writer = world.writer(2000)
    site = world.reader(writer.core.key, source=writer.core, have=[])
    site.replicator.download_ranges = []
    script = world.script(site)
    script.send(whole_sync(0, 2000), Want(start=0, length=2048))
    script.pair.windows["a"] = 0
    peer = script.peer
    peer.channel.send(99, bytes(300_000))  # more than the muxer holds before it is full
    download(writer.core, site.core, range(100))
    download(writer.core, site.core, [500])
    assert script.wait(1) == []
    assert peer.announcer.owes
    script.pair.windows["a"] = None
    notified = [message for message in script.turn() if isinstance(message, Range)]
    assert notified == [Range(start=0, length=100), Range(start=500)]


def test_a_truncation_takes_blocks_back_before_the_sync_that_reports_it() -> None:
    world = World()
    site = world.writer(24)
    script = world.script(site)
    script.send(whole_sync(24, 24))
    site.truncate(10)
    assert script.turn()[0] == Range(start=10, length=14, drop=True)
    reported = script.wait(FLUSH_AFTER)
    assert [message for message in reported if isinstance(message, Sync)] == [
        Sync(fork=1, length=10, remote_length=0, has_manifest=True)
    ]
