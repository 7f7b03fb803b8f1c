"""One key that is a drive, or might be one. Cores are real, time and peers are ours."""

from __future__ import annotations

import pytest

from hypercore import BlockCipher, CoreLog, DriveWriter, EncryptingLog, KeyPair
from hypercore.aio import Durable
from hypercore.core import memory_store
from workers.engine.model.events import Problem, Synced
from workers.engine.model.kind import Kind
from workers.engine.seeds.seed import DETECT_TIMEOUT

from ..fakes import FakePeer, Sessions, Writer, WriterOfDrive, copy, fetch, upgrade
from .bench import Bench

# --- drives


def test_the_blobs_core_of_a_drive_is_opened_as_soon_as_its_header_is_here() -> None:
    drive = WriterOfDrive()
    drive.put("/a", b"content")
    bench = Bench(drive.key)
    db = bench.sessions[drive.key].core
    upgrade(drive.db.core, db)
    bench.review()
    assert drive.blobs.key not in bench.sessions.opened
    fetch(drive.db.core, db, [0])
    bench.review()
    assert bench.sessions[drive.blobs.key].downloading


def test_the_blobs_core_of_a_known_drive_is_opened_by_its_manifest_alone() -> None:
    drive = WriterOfDrive(encrypted=True)
    drive.put("/a", b"content")
    bench = Bench(drive.key, Kind.DRIVE)
    upgrade(drive.db.core, bench.sessions[drive.key].core)
    bench.review()
    assert bench.sessions[drive.blobs.key].downloading


def test_what_shows_the_second_core_or_completes_one_on_disk_asks_for_a_prompt_review() -> None:
    """Other activity waits with that of thousands of other keys."""
    drive = WriterOfDrive()
    drive.put("/a", b"abc", b"def")
    bench = Bench(drive.key)
    db = bench.sessions[drive.key].core
    upgrade(drive.db.core, db)
    fetch(drive.db.core, db, [0])
    assert bench.prompted > 0
    bench.review()
    blobs = bench.sessions[drive.blobs.key]
    before, pokes = bench.prompted, bench.pokes
    copy(drive.db.core, db)
    copy(drive.blobs, blobs.core)
    assert bench.prompted == before
    assert bench.pokes > pokes
    bench.flush()
    blobs.notify(Durable([(0, 2)]))
    assert bench.prompted == before + 1


def test_a_drive_is_synced_when_both_cores_are() -> None:
    drive = WriterOfDrive()
    drive.put("/a", b"abc", b"def")
    bench = Bench(drive.key)
    copy(drive.db.core, bench.sessions[drive.key].core)
    bench.flush()
    bench.review()
    assert bench.synced() == []
    copy(drive.blobs, bench.sessions[drive.blobs.key].core)
    bench.review()
    assert bench.synced() == []
    bench.flush()
    bench.review()
    size = drive.db.core.byte_length + 6
    assert bench.synced() == [Synced(key=drive.key, kind=Kind.DRIVE, version=2, length=4, bytes=size)]


def test_new_names_without_their_contents_are_not_synced() -> None:
    """The two cores arrive on channels of their own: the db may be first by any time."""
    drive = WriterOfDrive()
    drive.put("/a", b"abc")
    bench = Bench(drive.key)
    copy(drive.db.core, bench.sessions[drive.key].core)
    bench.review()
    copy(drive.blobs, bench.sessions[drive.blobs.key].core)
    bench.flush()
    bench.review()
    assert [event.version for event in bench.synced()] == [2]

    drive.put("/b", b"more")
    copy(drive.db.core, bench.sessions[drive.key].core)
    bench.flush()
    bench.review()
    assert bench.synced() == []
    copy(drive.blobs, bench.sessions[drive.blobs.key].core)
    bench.flush()
    bench.review()
    assert [event.version for event in bench.synced()] == [3]


def test_a_drive_without_contents_needs_no_blobs() -> None:
    drive = WriterOfDrive()
    drive.put("/empty")
    bench = Bench(drive.key)
    copy(drive.db.core, bench.sessions[drive.key].core)
    bench.flush()
    bench.review()
    bench.flush()
    bench.review()
    assert [event.length for event in bench.synced()] == [2]


def test_an_encrypted_drive_turns_out_to_be_one_when_a_peer_has_its_blobs() -> None:
    drive = WriterOfDrive(encrypted=True)
    drive.put("/secret", b"abc")
    store = memory_store()
    bench = Bench(drive.key, sessions=Sessions(store))
    copy(drive.db.core, bench.sessions[drive.key].core)
    bench.review()
    bench.flush()
    deadline = bench.review()
    assert bench.synced() == [], "it may have a second core: too early to say"
    assert deadline is not None
    copy(drive.blobs, bench.sessions[drive.blobs.key].core)
    bench.flush()
    bench.review(after=0.1)
    assert [(event.kind, event.length) for event in bench.synced()] == [(Kind.DRIVE, 3)]
    bench.flush()
    bench.seed.close()

    again = Bench(drive.key, sessions=Sessions(store))
    again.review()
    assert [(event.kind, event.length) for event in again.synced()] == [(Kind.DRIVE, 3)]


def test_a_core_that_might_be_an_encrypted_drive_is_a_core_after_some_time() -> None:
    writer = Writer()
    writer.append(bytes(range(128, 128 + 20)))
    store = memory_store()
    bench = Bench(writer.key, sessions=Sessions(store))
    copy(writer.core, bench.sessions[writer.key].core)
    bench.review()
    bench.flush()
    deadline = bench.review()
    assert deadline == bench.now + DETECT_TIMEOUT
    bench.review(after=DETECT_TIMEOUT)
    assert [event.kind for event in bench.synced()] == [Kind.CORE]
    bench.flush()
    bench.seed.close()

    again = Bench(writer.key, sessions=Sessions(store))
    again.review()
    assert [event.kind for event in again.synced()] == [Kind.CORE], "patience is needed once"
    assert len(again.sessions.opened) == 2, "but the question stays open: a peer may have the blobs yet"


@pytest.mark.parametrize("first", [b"a line of text", bytes(range(128, 128 + 120)) * 2])
def test_a_core_whose_first_block_is_no_header_is_synced_at_once(first: bytes) -> None:
    """Its manifest would name a blobs core, but text and long blocks are no encrypted header."""
    writer = Writer()
    writer.append(first)
    bench = Bench(writer.key)
    copy(writer.core, bench.sessions[writer.key].core)
    bench.review()
    bench.flush()
    bench.review()
    assert [event.kind for event in bench.synced()] == [Kind.CORE]
    assert list(bench.sessions.opened) == [writer.key], "nothing else is asked for"


def suspicious() -> tuple[Bench, FakePeer, FakePeer]:
    """A complete core whose first block may be an encrypted header, with two peers."""
    writer = Writer()
    writer.append(bytes(range(128, 128 + 20)))
    bench = Bench(writer.key, sessions=Sessions(memory_store()))
    peers = FakePeer(bytes([1]) * 32), FakePeer(bytes([2]) * 32)
    copy(writer.core, bench.sessions[writer.key].core)
    bench.sessions[writer.key].peers.extend(peers)
    bench.review()
    bench.flush()
    return bench, *peers


def test_the_doubt_ends_when_all_peers_lack_the_second_core() -> None:
    bench, one, other = suspicious()
    (second,) = (bench.sessions[key] for key in bench.sessions.opened if key != bench.seed.key)
    second.declined.add(one.remote_public_key)
    bench.review(after=0.1)
    assert bench.synced() == [], "the other peer may have it"
    other.ahead = True
    second.peers.append(other)
    bench.review(after=0.1)
    assert bench.synced() == [], "it has not said yet what it has"
    other.ahead = False
    bench.review(after=0.1)
    assert [event.kind for event in bench.synced()] == [Kind.CORE]
    bench.flush()
    bench.seed.close()

    again = Bench(bench.seed.key, sessions=Sessions(bench.sessions.store))
    again.review()
    assert [event.kind for event in again.synced()] == [Kind.CORE], "that is remembered"


def test_other_seeders_with_the_same_doubt_do_not_make_a_core_a_drive() -> None:
    bench, one, other = suspicious()
    (second,) = (bench.sessions[key] for key in bench.sessions.opened if key != bench.seed.key)
    second.peers.extend((one, other))
    bench.review(after=0.1)
    assert [event.kind for event in bench.synced()] == [Kind.CORE]


@pytest.mark.parametrize(
    "block", [b"neither bee nor drive", b'{"n": 1}', "größer ☃, länger".encode(), b"\xff", bytes(1000)]
)
def test_a_core_whose_first_block_no_drive_has_is_synced_at_once(block: bytes) -> None:
    writer = Writer()
    writer.append(block)
    bench = Bench(writer.key)
    copy(writer.core, bench.sessions[writer.key].core)
    bench.review()
    bench.flush()
    bench.review()
    assert [event.kind for event in bench.synced()] == [Kind.CORE]
    assert list(bench.sessions.opened) == [writer.key], "no other core is looked for"


def test_an_encrypted_drive_of_compat_cores_is_reported_and_found_with_its_key() -> None:
    secret = b"s" * 32
    store = memory_store()
    pairs = [KeyPair.from_seed(bytes([number]) * 32) for number in (1, 2)]
    db, blobs = (store.create_core(pair, compat=True) for pair in pairs)
    logs = [
        EncryptingLog(CoreLog(core, pair), BlockCipher(core.key, secret, compat=True))
        for core, pair in zip((db, blobs), pairs, strict=True)
    ]
    writer = DriveWriter(*logs, blobs_key=blobs.key)
    writer.put("/file", b"content")

    mine = memory_store()
    bench = Bench(db.key, sessions=Sessions(mine))
    copy(db, bench.sessions[db.key].core)
    bench.flush()
    bench.review()
    events = bench.log.take()
    assert [event.kind for event in events if isinstance(event, Synced)] == [Kind.CORE]
    notified = [event for event in events if isinstance(event, Problem)]
    assert [problem.code for problem in notified] == ["BLOBS_UNKNOWN"]
    assert "--encryption-key" in notified[0].message
    bench.seed.close()

    unlocked = Bench(db.key, sessions=Sessions(mine), secrets=(bytes(32), secret))
    unlocked.review()
    assert unlocked.seed.kind is Kind.DRIVE and blobs.key in unlocked.sessions.opened
    assert unlocked.synced() == []
    copy(blobs, unlocked.sessions[blobs.key].core)
    unlocked.flush()
    unlocked.review()
    events = unlocked.log.take()
    assert [(event.kind, event.length) for event in events if isinstance(event, Synced)] == [
        (Kind.DRIVE, db.head.length + blobs.head.length)
    ]
    assert not [event for event in events if isinstance(event, Problem)]
    unlocked.seed.record()
    unlocked.flush()
    unlocked.seed.close()

    later = Bench(db.key, sessions=Sessions(mine))
    later.review()
    assert later.seed.kind is Kind.DRIVE and blobs.key in later.sessions.opened, "without the key, too"


def test_a_key_given_as_a_core_is_not_taken_for_an_encrypted_drive() -> None:
    drive = WriterOfDrive(encrypted=True)
    bench = Bench(drive.key, Kind.CORE)
    copy(drive.db.core, bench.sessions[drive.key].core)
    bench.flush()
    bench.review()
    assert [event.kind for event in bench.synced()] == [Kind.CORE]
    assert list(bench.sessions.opened) == [drive.key]
