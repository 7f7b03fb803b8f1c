"""One key, from the first look at it to synced. Cores are real, time and peers are ours."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hypercore.aio import Durable
from hypercore.bee import Header
from hypercore.core import memory_store
from hypercore.keys import encode_key
from hypercore.replication import BackedOff, Conflict, PeerClosed, PeerOpened
from workers.engine.model.events import CoreChanged, PeerChanged, Problem, Progress, Synced
from workers.engine.model.kind import Kind, Role
from workers.engine.model.status import State
from workers.engine.seeds.seed import STARVED_SECONDS

from ..fakes import FakePeer, Sessions, Writer, WriterOfDrive, copy, fetch, upgrade
from .bench import INTERVAL, Bench


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


def test_a_flush_asks_for_a_review_only_of_a_core_that_has_all_its_blocks() -> None:
    writer = Writer(compat=True)
    writer.append(b"hello", b"world!")
    bench = Bench(writer.key)
    session = bench.sessions[writer.key]
    upgrade(writer.core, session.core)
    fetch(writer.core, session.core, [0])
    before = bench.pokes
    session.notify(Durable([(0, 1)]))
    assert bench.pokes == before
    fetch(writer.core, session.core, [1])
    assert bench.pokes > before
    before = bench.pokes
    session.notify(Durable([(1, 2)]))
    assert bench.pokes == before + 1


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


def test_every_append_is_synced_again_after_an_event_about_its_head() -> None:
    writer = Writer(compat=True)
    bench = Bench(writer.key)
    for count in range(1, 4):
        writer.append(b"block")
        copy(writer.core, bench.sessions[writer.key].core)
        bench.flush()
        bench.review(after=0.01)
        notified = [event for event in bench.log.take() if isinstance(event, CoreChanged | Synced)]
        assert [event.length for event in notified] == [count, count]
        assert isinstance(notified[-1], Synced)


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


def test_a_block_lost_after_synced_makes_it_incomplete_and_synced_comes_again() -> None:
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
    session.notify(PeerOpened(cast(Any, reader)))
    reader.bytes_out = 1000
    session.peers.clear()
    session.notify(PeerClosed(cast(Any, reader)))
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


def test_closing_reports_that_peers_are_gone_and_lets_go_of_the_cores() -> None:
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


def test_damage_found_while_serving_is_reported_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_new_history_is_reported_and_synced() -> None:
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


def test_a_writer_with_two_histories_is_reported_once_and_shown_as_failed() -> None:
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


def test_back_offs_are_logged_in_words_and_seldom_enough_to_be_read() -> None:
    writer = Writer(compat=True)
    writer.append(b"one")
    bench = Bench(writer.key)
    bench.review()
    bench.log.take()
    for other_peer in range(50):
        notice = BackedOff(bytes([other_peer]) * 32, "ends the connection when it is asked for block 7", 300)
        bench.sessions[writer.key].notify(notice)
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
