"""One key, from the first look at it to synced. Cores are real, time and peers are ours."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hypercore import BlockCipher, CoreLog, DriveWriter, EncryptingLog, KeyPair
from hypercore.bee import Header
from hypercore.core import memory_store
from hypercore.keys import encode_key
from hypercore.replication import BackedOff, Conflict, PeerClosed, PeerOpened
from workers.engine.model.events import CoreChanged, PeerChanged, Problem, Progress, Synced
from workers.engine.model.kind import Kind, Role
from workers.engine.model.status import State
from workers.engine.seeds.seed import DETECT_TIMEOUT, STARVED_SECONDS, Seed
from workers.engine.settings.key_list import Wanted

from ..fakes import FakePeer, Log, Sessions, Writer, WriterOfDrive, copy, fetch, upgrade

INTERVAL = 0.5


class Bench:
    """A seed on a bench: reviewed by hand, at times of our choosing."""

    def __init__(
        self,
        key: bytes,
        kind: Kind | None = None,
        sessions: Sessions | None = None,
        secrets: tuple[bytes, ...] = (),
    ) -> None:
        self.sessions = sessions or Sessions()
        self.log = Log()
        self.pokes = 0
        self.claimed: list[bytes] = []
        self.may_claim = True
        self.now = 100.0
        self.seed = Seed(
            Wanted(key, kind),
            open_session=self.sessions.open,
            emit=self.log,
            changed=self._poke,
            claim=self._claim,
            report_interval=INTERVAL,
            secrets=secrets,
        )

    def _claim(self, core: bytes) -> bool:
        self.claimed.append(core)
        return self.may_claim

    def _poke(self) -> None:
        self.pokes += 1

    def review(self, after: float = INTERVAL) -> float | None:
        self.now += after
        return self.seed.review(self.now)

    def flush(self) -> None:
        self.sessions.store.flush()

    def synced(self) -> list[Synced]:
        return [event for event in self.log.take() if isinstance(event, Synced)]


def test_a_core_is_claimed_before_it_is_opened_and_not_opened_without_a_claim() -> None:
    drive = WriterOfDrive()
    bench = Bench(drive.key)
    assert bench.claimed == [drive.key]
    copy(drive.db.core, bench.sessions[drive.key].core)
    bench.may_claim = False
    for _ in range(2):
        bench.review()
        assert bench.claimed[-1] == drive.blobs.key and drive.blobs.key not in bench.sessions.opened
    problems = [event for event in bench.log.take() if isinstance(event, Problem)]
    assert [problem.code for problem in problems] == ["TOO_MANY_CORES"]
    assert encode_key(drive.blobs.key) in problems[0].message


def test_a_raw_core_is_seen_downloaded_and_synced_when_it_is_durable() -> None:
    writer = Writer(compat=True)
    writer.append(b"hello", b"world!")
    bench = Bench(writer.key)
    bench.review()
    assert bench.log.take() == [
        Progress(key=writer.key, kind=None, blocks=0, have_blocks=0, bytes=0, have_bytes=0, peers=0)
    ]
    assert bench.seed.status(bench.now).state is State.LOOKING

    core = bench.sessions[writer.key].core
    upgrade(writer.core, core)
    fetch(writer.core, core, [0])
    bench.review()
    assert bench.log.take() == [
        CoreChanged(key=writer.key, core=writer.key, role=Role.CORE, length=2, fork=0, byte_length=11),
        Progress(key=writer.key, kind=Kind.CORE, blocks=2, have_blocks=1, bytes=11, have_bytes=5, peers=0),
    ]
    assert bench.seed.status(bench.now).state is State.WAITING

    fetch(writer.core, core, [1])
    bench.review()
    assert bench.synced() == []
    assert bench.seed.status(bench.now).state is State.FLUSHING

    bench.flush()
    bench.review()
    assert bench.synced() == [Synced(key=writer.key, kind=Kind.CORE, version=2, length=2, bytes=11)]
    assert bench.seed.status(bench.now).state is State.SYNCED
    bench.review()
    assert bench.synced() == []


def test_every_append_is_synced_again_with_its_head_told_first() -> None:
    writer = Writer(compat=True)
    bench = Bench(writer.key)
    for count in range(1, 4):
        writer.append(b"block")
        copy(writer.core, bench.sessions[writer.key].core)
        bench.flush()
        bench.review(after=0.01)
        told = [event for event in bench.log.take() if isinstance(event, CoreChanged | Synced)]
        assert [event.length for event in told] == [count, count]
        assert isinstance(told[-1], Synced)


def test_progress_comes_at_most_twice_a_second_and_the_last_one_is_not_lost() -> None:
    writer = Writer(compat=True)
    writer.append(*[b"block"] * 400)
    bench = Bench(writer.key)
    core = bench.sessions[writer.key].core
    upgrade(writer.core, core)
    deadline: float | None = None
    for index in range(400):
        fetch(writer.core, core, [index])
        deadline = bench.review(after=0.01)
    progress = [event for event in bench.log.take() if isinstance(event, Progress)]
    assert 4.0 / INTERVAL <= len(progress) <= 4.0 / INTERVAL + 1
    assert deadline is not None and bench.now < deadline <= bench.now + INTERVAL
    bench.review(after=deadline - bench.now)
    assert [event for event in bench.log.take() if isinstance(event, Progress)][-1].have_blocks == 400


def test_nothing_new_says_nothing() -> None:
    writer = Writer(compat=True)
    writer.append(b"block")
    bench = Bench(writer.key)
    copy(writer.core, bench.sessions[writer.key].core)
    bench.flush()
    bench.review()
    bench.log.take()
    assert bench.review() is None
    assert bench.log.take() == []


def test_a_complete_core_is_synced_at_once_after_a_restart() -> None:
    writer = Writer(compat=True)
    writer.append(b"one", b"two")
    store = memory_store()
    first = Bench(writer.key, sessions=Sessions(store))
    copy(writer.core, first.sessions[writer.key].core)
    first.flush()
    first.seed.close()

    second = Bench(writer.key, sessions=Sessions(store))
    second.review()
    assert [event.version for event in second.synced()] == [2]


def test_a_block_lost_after_synced_makes_it_incomplete_and_synced_is_told_again() -> None:
    writer = Writer(compat=True)
    writer.append(b"one", b"two")
    bench = Bench(writer.key)
    core = bench.sessions[writer.key].core
    copy(writer.core, core)
    bench.flush()
    bench.review()
    assert len(bench.synced()) == 1
    core.clear(0, 1)
    bench.review()
    assert bench.synced() == []
    assert bench.seed.status(bench.now).state is State.WAITING
    fetch(writer.core, core, [0])
    bench.flush()
    bench.review()
    assert len(bench.synced()) == 1


def test_an_empty_core_is_never_synced() -> None:
    bench = Bench(Writer(compat=True).key)
    bench.sessions[bench.seed.key].peers.append(FakePeer())
    bench.review()
    bench.review(after=60)
    assert bench.synced() == []
    assert bench.seed.status(bench.now).state is State.ASKING


def test_a_reader_that_is_gone_before_the_next_look_at_the_key_is_counted() -> None:
    bench = Bench(Writer(compat=True).key)
    session, reader = bench.sessions[bench.seed.key], FakePeer()
    session.peers.append(reader)
    session.tell(PeerOpened(cast(Any, reader)))
    reader.bytes_out = 1000
    session.peers.clear()
    session.tell(PeerClosed(cast(Any, reader)))
    bench.review()
    assert bench.seed.status(bench.now).bytes_out == 1000
    states = [event.state for event in bench.log.take() if isinstance(event, PeerChanged)]
    assert states == ["open", "close"]


def test_a_bee_has_its_kind_and_its_role() -> None:
    writer = Writer()
    writer.append(Header().encode())
    bench = Bench(writer.key)
    copy(writer.core, bench.sessions[writer.key].core)
    bench.flush()
    bench.review()
    events = bench.log.take()
    assert [event.role for event in events if isinstance(event, CoreChanged)] == [Role.BEE]
    assert [event.kind for event in events if isinstance(event, Synced)] == [Kind.BEE]


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


def test_the_blobs_core_of_a_drive_we_are_told_of_is_opened_by_its_manifest_alone() -> None:
    drive = WriterOfDrive(encrypted=True)
    drive.put("/a", b"content")
    bench = Bench(drive.key, Kind.DRIVE)
    upgrade(drive.db.core, bench.sessions[drive.key].core)
    bench.review()
    assert bench.sessions[drive.blobs.key].downloading


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


def test_a_core_that_might_be_an_encrypted_drive_is_a_core_after_some_patience() -> None:
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


def test_an_encrypted_drive_of_compat_cores_is_told_and_found_with_its_key() -> None:
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
    told = [event for event in events if isinstance(event, Problem)]
    assert [problem.code for problem in told] == ["BLOBS_UNKNOWN"]
    assert "--encryption-key" in told[0].message
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
    unlocked.seed.note()
    unlocked.flush()
    unlocked.seed.close()

    later = Bench(db.key, sessions=Sessions(mine))
    later.review()
    assert later.seed.kind is Kind.DRIVE and blobs.key in later.sessions.opened, "without the key, too"


def test_a_core_we_are_told_is_a_core_is_not_suspected() -> None:
    drive = WriterOfDrive(encrypted=True)
    bench = Bench(drive.key, Kind.CORE)
    copy(drive.db.core, bench.sessions[drive.key].core)
    bench.flush()
    bench.review()
    assert [event.kind for event in bench.synced()] == [Kind.CORE]
    assert list(bench.sessions.opened) == [drive.key]


# --- peers, damage, the end


def test_a_peer_of_both_cores_is_one_peer_with_the_sum_of_its_bytes() -> None:
    drive = WriterOfDrive()
    bench = Bench(drive.key)
    copy(drive.db.core, bench.sessions[drive.key].core)
    bench.review()
    bench.log.take()
    one, two = FakePeer(), FakePeer()
    bench.sessions[drive.key].peers.append(one)
    bench.review()
    bench.sessions[drive.blobs.key].peers.append(two)
    bench.review()
    one.bytes_in, two.bytes_in, two.bytes_out = 10, 100, 7
    assert bench.seed.status(bench.now).bytes_in == 110
    bench.sessions[drive.key].peers.clear()
    bench.review()
    bench.sessions[drive.blobs.key].peers.clear()
    bench.review()
    public_key = one.remote_public_key
    assert [event for event in bench.log.take() if isinstance(event, PeerChanged)] == [
        PeerChanged(key=drive.key, peer=public_key, state="open", bytes_in=0, bytes_out=0),
        PeerChanged(key=drive.key, peer=public_key, state="close", bytes_in=110, bytes_out=7),
    ]
    assert (bench.seed.status(bench.now).bytes_in, bench.seed.peers) == (110, 0)


def test_a_peer_that_comes_back_at_once_has_not_left() -> None:
    writer = Writer(compat=True)
    bench = Bench(writer.key)
    session = bench.sessions[writer.key]
    session.peers.append(FakePeer())
    session.peers[0].bytes_in = 5
    bench.review()
    session.peers[:] = [FakePeer()]
    session.peers[0].bytes_in = 3
    bench.review()
    session.peers.clear()
    bench.review()
    peers = [event for event in bench.log.take() if isinstance(event, PeerChanged)]
    assert [(event.state, event.bytes_in) for event in peers] == [("open", 0), ("close", 8)]


def test_closing_tells_that_peers_are_gone_and_lets_go_of_the_cores() -> None:
    drive = WriterOfDrive()
    bench = Bench(drive.key)
    copy(drive.db.core, bench.sessions[drive.key].core)
    bench.review()
    bench.sessions[drive.key].peers.append(FakePeer())
    bench.review()
    bench.log.take()
    bench.seed.close()
    assert bench.log.names() == ["peer"]
    for session in bench.sessions.opened.values():
        assert session.closed and not session.callbacks and not session.core._listeners


def test_damage_found_while_serving_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(compat=True)
    writer.append(b"one", b"two")
    bench = Bench(writer.key)
    core = bench.sessions[writer.key].core
    copy(writer.core, core)
    bench.flush()
    bench.review()
    bench.log.take()
    monkeypatch.setattr(type(core.storage), "stored_block", lambda *_: b"tvo")
    before = bench.pokes
    assert core.get(1) is None
    assert bench.pokes > before
    bench.review()
    problems = [event for event in bench.log.take() if isinstance(event, Problem)]
    assert [problem.code for problem in problems] == ["BLOCK_DAMAGED"]
    assert encode_key(writer.key) in problems[0].message
    assert not bench.seed.complete


def test_a_new_history_is_told_and_synced() -> None:
    writer = Writer(compat=True)
    writer.append(b"one", b"two", b"three")
    bench = Bench(writer.key)
    core = bench.sessions[writer.key].core
    copy(writer.core, core)
    bench.flush()
    bench.review()
    bench.log.take()
    # What replication does with a higher fork is its own business; here the head is simply another one.
    core.truncate(1, writer.key_pair)
    bench.flush()
    bench.review()
    events = [event for event in bench.log.take() if isinstance(event, CoreChanged | Synced)]
    assert [event.length for event in events] == [1, 1]
    assert isinstance(events[0], CoreChanged) and events[0].fork == 1


def test_a_writer_with_two_histories_is_told_once_and_shown_as_failed() -> None:
    writer = Writer(compat=True)
    writer.append(b"one")
    bench = Bench(writer.key)
    copy(writer.core, bench.sessions[writer.key].core)
    bench.review()
    bench.log.take()
    for callback in bench.sessions[writer.key].callbacks:
        callback(Conflict(peer=None, proof=None))  # type: ignore[arg-type]
    bench.review()
    bench.review()
    problems = [event for event in bench.log.take() if isinstance(event, Problem)]
    assert [(problem.key, problem.code) for problem in problems] == [(writer.key, "CONFLICT")]
    assert bench.seed.status(bench.now).state is State.FAILED


def test_back_offs_are_told_in_words_and_not_more_often_than_people_can_read() -> None:
    writer = Writer(compat=True)
    writer.append(b"one")
    bench = Bench(writer.key)
    bench.review()
    bench.log.take()
    for stranger in range(50):
        notice = BackedOff(bytes([stranger]) * 32, "ends the connection when it is asked for block 7", 300)
        bench.sessions[writer.key].tell(notice)
    bench.review()
    (problem,) = [event for event in bench.log.take() if isinstance(event, Problem)]
    assert (problem.key, problem.code) == (writer.key, "PEER_BACKOFF")
    assert f"peer {encode_key(bytes(32))} ends the connection when it is asked for block 7" in problem.message
    assert "not asked again for 300 s" in problem.message


def test_a_key_lacks_peers_without_any_and_when_those_it_has_give_nothing() -> None:
    writer = Writer(compat=True)
    writer.append(b"hello", b"world!")
    bench = Bench(writer.key)
    session = bench.sessions[writer.key]
    bench.review()
    assert bench.seed.lacks_peers(0.0), "nobody is there"
    peer = FakePeer(b"\x01" * 32)
    session.peers.append(peer)
    upgrade(writer.core, session.core)
    bench.review()
    assert not bench.seed.lacks_peers(1.0) and not bench.seed.lacks_peers(STARVED_SECONDS)
    assert bench.seed.lacks_peers(1.0 + STARVED_SECONDS), "it has given nothing all the time"
    peer.bytes_in = 5
    assert not bench.seed.lacks_peers(40.0)
    fetch(writer.core, session.core, [0, 1])
    bench.review()
    assert bench.seed.complete
    assert not bench.seed.lacks_peers(1000.0), "there is nothing to give"
