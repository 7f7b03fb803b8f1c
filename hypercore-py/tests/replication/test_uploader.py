"""How a site answers requests, to a scripted peer."""

import pytest

from hypercore.mux import HIGH_WATER_BYTES
from hypercore.replication.config import MAX_BACKLOG, MAX_INVALID_REQUESTS, MAX_REASONED_REFUSALS
from hypercore.testing.cores import make_writer, sample_blocks
from hypercore.wire.control import REASON_INVALID_REQUEST, REASON_NOT_AVAILABLE, Cancel, NoData, Sync, Want
from hypercore.wire.data import Data
from hypercore.wire.request import Request, RequestBlock, RequestUpgrade
from support.replication_world import Script, Site, World, of

SYNC = Sync(fork=0, length=0, remote_length=0)


def ask(number: int, index: int, *, fork: int = 0, nodes: int = 0, priority: int = 0) -> Request:
    return Request(id=number, fork=fork, block=RequestBlock(index, nodes), priority=priority)


def answered(messages: list) -> list[int]:
    return [message.request for message in messages if isinstance(message, Data | NoData)]


def test_a_block_is_answered_with_its_proof() -> None:
    world = World()
    site = world.writer(10)
    script = world.script(site)
    (data,) = script.send(ask(7, 3, nodes=2))
    assert data == site.core.prove(ask(7, 3, nodes=2))
    assert data.block.value == sample_blocks(10)[3]
    assert (script.peer.stats.blocks_up, script.peer.stats.bytes_up) == (1, len(data.block.value))


def test_a_block_given_again_and_again_is_useful_work_no_more() -> None:
    """Who has been given as many blocks as there are has had some of them before."""
    world = World()
    site = world.writer(10)
    script = world.script(site)
    before = script.peer.muxer.useful
    for number in range(1, 31):
        script.send(ask(number, number % 10))
    assert script.peer.stats.blocks_up == 30
    assert script.peer.muxer.useful - before == 10
    assert script.peer.muxer.useful_bytes == sum(map(len, sample_blocks(10)))


def reopen(script: Script) -> None:
    before = script.peer
    script.channel.close(script.world.now)
    script.turn()
    assert script.peer is not before
    script.join()
    script.turn()


def test_a_channel_that_is_opened_again_earns_no_more_by_the_same_blocks() -> None:
    world = World()
    script = world.script(world.writer(10))
    before = script.peer.muxer.useful
    for _ in range(3):
        for index in range(10):
            assert len(of(Data, script.send(ask(index + 1, index)))) == 1
        reopen(script)
    assert script.peer.muxer.useful - before == 10


def test_a_peer_that_opens_its_channel_again_may_send_no_more_invalid_requests() -> None:
    world = World()
    script = world.script(world.writer(10))
    for number in range(MAX_INVALID_REQUESTS):
        assert script.pair.connected
        script.send(Request(id=number + 1, fork=0, upgrade=RequestUpgrade(0, 11)))
        reopen(script)
    script.send(ask(1, 1))
    assert not script.pair.connected


def test_urgent_requests_go_first_and_the_others_in_order() -> None:
    world = World()
    script = world.script(world.writer(10))
    for number in range(4):
        script.channel.send_frame(ask(number + 1, number))
    reported = script.send(ask(5, 5, priority=1), ask(6, 6, priority=2))
    assert answered(reported) == [5, 6, 1, 2, 3, 4]


def test_a_cancelled_request_is_not_answered() -> None:
    world = World()
    script = world.script(world.writer(10))
    assert answered(script.send(ask(1, 1), ask(2, 2), ask(3, 3), Cancel(request=2), Cancel(request=99))) == [
        1,
        3,
    ]


def test_a_number_used_again_stands_for_the_new_request() -> None:
    world = World()
    script = world.script(world.writer(10))
    (data,) = script.send(ask(1, 1), ask(1, 2))
    assert data.block.index == 2


def test_a_block_that_is_not_here_is_refused() -> None:
    world = World()
    writer = world.writer(10)
    site = world.reader(writer.core.key, source=writer.core, have=[1])
    site.replicator.download_ranges = []
    script = world.script(site)
    assert script.send(ask(1, 2)) == [NoData(request=1, reason=REASON_NOT_AVAILABLE)]
    assert script.send(ask(2, 10**9)) == [NoData(request=2, reason=REASON_NOT_AVAILABLE)]


def test_a_request_for_another_fork_is_refused_or_answered_with_the_manifest_alone() -> None:
    world = World()
    site = world.writer(10)
    script = world.script(site)
    assert script.send(ask(1, 2, fork=1)) == [NoData(request=1, reason=REASON_NOT_AVAILABLE)]
    asking = Request(id=2, fork=1, upgrade=RequestUpgrade(0, 10), manifest=True)
    assert script.send(asking) == [Data(request=2, fork=0, manifest=site.core.manifest)]


def test_reasons_end_before_an_official_peer_would_give_up() -> None:
    world = World()
    writer = world.writer(100)
    script = world.script(world.reader(writer.core.key, source=writer.core))
    reported = script.send(*(ask(number, number) for number in range(1, 50)))
    reasons = [message.reason for message in of(NoData, reported)]
    assert reasons == [REASON_NOT_AVAILABLE] * MAX_REASONED_REFUSALS + [0] * (49 - MAX_REASONED_REFUSALS)


def test_requests_that_cannot_be_proven_are_refused_and_counted() -> None:
    world = World()
    script = world.script(world.writer(10))
    impossible = [
        Request(id=n, fork=0, upgrade=RequestUpgrade(0, 11)) for n in range(1, MAX_INVALID_REQUESTS + 2)
    ]
    assert script.send(impossible[0]) == [NoData(request=1, reason=REASON_INVALID_REQUEST)]
    reported = script.send(*impossible[1:-1])
    assert len(of(NoData, reported)) == MAX_INVALID_REQUESTS - 1
    assert script.pair.connected
    script.send(impossible[-1])
    assert not script.pair.connected
    assert len(script.pair.errors) == 1


def test_answers_wait_while_the_transport_is_full() -> None:
    world = World()
    site = world.writer(blocks=[bytes([n]) * 65536 for n in range(32)])
    script = world.script(site)
    script.pair.windows["a"] = 0
    assert script.send(*(ask(n + 1, n) for n in range(32))) == []
    assert len(script.peer.uploader) == 32
    assert script.peer.muxer.queued_bytes == 0
    first = script.peer.muxer.take_output(world.now)
    assert sum(map(len, first)) <= 2 * HIGH_WATER_BYTES
    assert len(script.peer.uploader) > 20
    for message in first:
        script.pair.send_raw("a", message)
    script.pair.windows["a"] = None
    assert answered(script.turn()) == list(range(1, 33))


def test_a_request_cancelled_while_it_waits_costs_nothing() -> None:
    world = World()
    script = world.script(world.writer(10))
    script.pair.windows["a"] = 0
    script.send(ask(1, 1), ask(2, 2))
    script.send(Cancel(request=1))
    script.pair.windows["a"] = None
    assert answered(script.turn()) == [2]


def test_the_backlog_is_bounded() -> None:
    world = World()
    script = world.script(world.writer(10))
    script.pair.windows["a"] = 0
    script.send(*(ask(number, 1) for number in range(1, MAX_BACKLOG + 1)))
    assert len(script.peer.uploader) == MAX_BACKLOG
    assert script.pair.connected
    script.send(ask(MAX_BACKLOG + 1, 1))
    assert not script.pair.connected


def test_wants_count_for_the_backlog() -> None:
    world = World()
    script = world.script(world.writer(10))
    script.pair.windows["a"] = 0
    script.send(*(Want(start=32 * number, length=32) for number in range(MAX_BACKLOG)))
    assert script.pair.connected
    script.send(Want(start=0, length=32), Want(start=32 * MAX_BACKLOG, length=32))
    assert not script.pair.connected


@pytest.mark.slow
def test_cancelled_requests_do_not_pile_up() -> None:
    world = World()
    script = world.script(world.writer(10))
    script.pair.windows["a"] = 0
    for _ in range(20):
        for number in range(1, 1001):
            script.channel.send_frame(ask(number, 1))
            script.channel.send_frame(Cancel(request=number))
        script.turn()
    uploader = script.peer.uploader
    assert len(uploader) == 0
    assert len(uploader._normal) <= 2 * MAX_BACKLOG


def test_a_writer_does_not_show_a_head_that_a_crash_could_take_back() -> None:
    """Otherwise it would sign another one of the same length after the crash, and that is a conflict."""
    world = World()
    site = world.writer(10)
    site.flushing = False
    script = world.script(site)
    site.append(b"new")
    reported = script.turn()
    assert {sync.length for sync in of(Sync, reported)} <= {10}
    assert script.send(Request(id=1, fork=0, upgrade=RequestUpgrade(0, 10))) == []
    (data,) = script.send(ask(2, 3))
    assert data.upgrade is None
    late = world.script(site)
    assert of(Sync, late.greeting)[0].length == 10
    site.flush()
    reported = script.turn()
    assert of(Sync, reported)[-1].length == 11
    (proof,) = of(Data, reported)
    assert proof.upgrade.additional_nodes


def test_a_head_made_before_replication_began_is_not_shown_before_it_is_durable() -> None:
    world = World()
    made = make_writer(sample_blocks(10))
    made.core.append([b"new"], made.key_pair)
    site = Site(world, made.store, made.core)
    world.timed.append(site)
    site.flushing = False
    script = world.script(site)
    assert of(Sync, script.greeting)[0].length == 10
    site.flush()
    assert of(Sync, script.turn())[-1].length == 11


@pytest.mark.parametrize("wanted", [Request(id=0, fork=0, upgrade=RequestUpgrade(0, 7))])
def test_a_probe_for_conflicts_is_answered_like_any_request(wanted: Request) -> None:
    world = World()
    site = world.writer(10)
    assert world.script(site).send(wanted) == [site.core.prove(wanted)]
