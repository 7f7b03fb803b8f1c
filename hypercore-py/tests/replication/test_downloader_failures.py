"""How a site downloads when peers refuse, are silent, slow or wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hypercore.replication import BlockReceived, Peer, PeerMisbehaved, ReplicationConfig
from hypercore.replication.availability import Availability
from hypercore.replication.config import MAX_HOLDERS, MAX_INVALID_ANSWERS, MAX_REFUSALS
from hypercore.replication.downloader import Downloader
from hypercore.replication.hotswap import HEAD_TIMEOUT
from hypercore.testing.cores import sample_blocks
from hypercore.wire.control import Cancel, NoData, Range, Sync, Unwant, Want
from hypercore.wire.data import Data
from hypercore.wire.request import Request, RequestUpgrade
from support.downloads import CONFIG, blocks_asked, reader_and_server
from support.replication_world import Script, Server, World, of

# --- what goes wrong ----------------------------------------------------------------------------------------


def test_a_refused_block_is_asked_of_another_peer_and_not_again_of_this_one() -> None:
    world = World()
    site, first, source = reader_and_server(world, 8, have=0)
    asked = of(Request, first.offer(source))
    second = Server(world, site, 0)
    assert of(Request, second.offer(source)) == []
    first.send(NoData(request=asked[3].id, reason=1))
    (request,) = of(Request, second.log)
    assert request.block.index == 3
    second.send(NoData(request=request.id))
    assert blocks_asked([*first.log, *second.log]).count(3) == 2
    assert blocks_asked(first.send(Range(start=3))) == [3]


def test_a_peer_that_only_refuses_is_given_up() -> None:
    world = World()
    _site, server, source = reader_and_server(world, 500, have=0)
    server.on_message = lambda message: (
        server.channel.send_frame(NoData(request=message.id, reason=1))
        if isinstance(message, Request)
        else None
    )
    server.offer(source)
    assert MAX_REFUSALS <= len(blocks_asked(server.log)) < MAX_REFUSALS + CONFIG.inflight_min + 1
    assert not server.peer.may_be_asked
    assert server.opened


def test_answers_that_were_not_asked_for_are_ignored() -> None:
    world = World()
    site, server, source = reader_and_server(world, 8, have=0)
    asked = of(Request, server.offer(source))
    other = source.prove(asked[1])
    server.send(Data(request=999, fork=0, block=other.block))
    server.send(Data(request=asked[0].id, fork=0, block=other.block))  # another block than it was asked for
    assert site.core.bitfield.count == 0
    assert server.pair.connected


def test_a_silent_peer_loses_its_requests_to_another() -> None:
    world = World()
    config = ReplicationConfig(request_timeout=10)
    site, silent, source = reader_and_server(world, 40, have=0, config=config)
    asked = blocks_asked(silent.offer(source))
    assert asked == list(range(16))
    silent.wait(10.5)
    assert len(of(Cancel, silent.log)) == 16
    assert silent.peer.stats.timeouts == 16
    assert silent.peer.down.max_inflight == 1
    other = Server(world, site, 0)
    other.source = source
    other.serve()
    other.offer(source)
    assert site.core.complete


def test_a_silent_peer_is_tried_again_with_a_single_request() -> None:
    world = World()
    _site, silent, source = reader_and_server(world, 40, have=0, config=ReplicationConfig(request_timeout=10))
    silent.offer(source)
    silent.log.clear()
    silent.wait(10 + CONFIG.stall_pause + 1)
    (again,) = of(Request, silent.log)
    silent.answer(again)
    assert len(of(Request, silent.log)) == 1 + 2  # twice as many with each answer


def test_a_slow_peer_that_answers_keeps_its_requests() -> None:
    world = World()
    _site, slow, source = reader_and_server(world, 16, have=0, config=ReplicationConfig(request_timeout=10))
    requests = of(Request, slow.offer(source))
    for request in requests[:10]:
        slow.wait(3)
        slow.answer(request)
    assert of(Cancel, slow.log) == []
    slow.wait(11)
    assert len(of(Cancel, slow.log)) == 6


def test_an_idle_peer_is_asked_for_blocks_that_take_long_elsewhere() -> None:
    world = World()
    site, slow, source = reader_and_server(world, 10, have=0)
    asked = of(Request, slow.offer(source))
    assert len(asked) == 10
    quick = Server(world, site, 0)
    assert of(Request, quick.offer(source)) == []
    quick.wait(2 * CONFIG.hotswap_after)
    swapped = of(Request, quick.log)
    assert blocks_asked(swapped) == list(range(10))
    slow.log.clear()
    quick.answer(*swapped[:4])
    assert slow.log == [Cancel(request=request.id) for request in asked[:4]]
    slow.answer(*asked[4:])
    assert site.core.complete
    assert len(of(Cancel, quick.log)) == 6


def test_a_peer_that_helps_out_is_not_kept_waiting_for_the_timer() -> None:
    world = World()
    config = ReplicationConfig(inflight_min=48)
    site, vanished, source = reader_and_server(world, 48, have=0, config=config)
    assert len(blocks_asked(of(Request, vanished.offer(source)))) == 48
    helper = Server(world, site, 0)
    helper.offer(source)
    helper.wait(2 * config.hotswap_after)
    while asked := of(Request, helper.log):
        helper.log.clear()
        helper.answer(*asked)
    assert site.core.complete


def test_a_block_is_asked_of_a_few_peers_at_most() -> None:
    world = World()
    site, first, source = reader_and_server(world, 1, have=0)
    servers = [first, *(Server(world, site, 0) for _ in range(6))]
    for server in servers:
        server.offer(source)
    first.wait(10 * CONFIG.hotswap_after)
    assert sum(len(blocks_asked(server.log)) for server in servers) == MAX_HOLDERS


def test_a_slow_writer_among_silent_peers_has_longer_each_time() -> None:
    """Peers have little time, but a peer that needs more than they is not given up for it."""
    world = World()
    writer = world.writer(10)
    site = world.reader(writer.core.key)
    silent = [Script(world, site, 0) for _ in range(3)]
    for script in silent:
        script.send(Sync(fork=0, length=50, remote_length=0, can_upgrade=True, has_manifest=True))
    world.connect(writer, site, latency=0.9)
    assert world.run(until=lambda: site.complete, seconds=(1 + 2 + 3) * 5)


@pytest.mark.parametrize("liars", [2, 5])
def test_peers_that_claim_a_longer_head_do_not_take_turns_for_ever(liars: int) -> None:
    """One peer is asked for the head at a time, and they came first."""
    world = World()
    writer = world.writer(10)
    site = world.reader(writer.core.key)
    silent = [Script(world, site, 0) for _ in range(liars)]

    def claim() -> None:
        for script in silent:
            script.send(
                Sync(fork=0, length=50, remote_length=site.core.length, can_upgrade=True, has_manifest=True)
            )

    claim()
    world.connect(writer, site, latency=0.01)
    for expected in (10, 11):
        began = world.now
        while site.core.length < expected or not site.complete:
            world.run(until=lambda: False, seconds=0.5)
            world.clock.now += 0.01
            claim()
            assert world.now < began + liars + 2.5, "a second each, and not three"
            if expected == 11:
                assert world.now < began + 2 * HEAD_TIMEOUT, "who gave the head before is asked first"
        writer.append(b"one more")


def test_peers_that_have_nothing_cost_next_to_nothing_while_others_are_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Peers that claim all and are silent, beside peers that have a block that we have."""
    visited: list[Peer] = []
    for owner, name in ((Downloader, "can_give"), (Availability, "has"), (Availability, "first_in")):
        original = getattr(owner, name)

        def counted(*args: Any, original: Callable[..., Any] = original) -> Any:
            visited.append(args[1])
            return original(*args)

        monkeypatch.setattr(owner, name, counted)
    world = World()
    site, silent, source = reader_and_server(world, 1000, have=1)
    silent.offer(source)
    for _ in range(9):
        Server(world, site, 0).offer(source)
    for _ in range(40):
        Server(world, site, 0).offer(source, announce=1)
    helper = Server(world, site, 0)
    helper.offer(source, announce=21)
    asked = len(site.replicator.downloader.requests)
    assert asked >= 10 * CONFIG.inflight_min and blocks_asked(of(Request, helper.log)) == []
    visited.clear()
    world.clock.now += 2 * CONFIG.hotswap_after
    site.handle_timer(world.now)
    swapped = len(site.replicator.downloader.requests) - asked
    assert 0 < swapped <= 20 and len(visited) < 2 * (51 + swapped), "not for each late block and peer"
    helper.turn()
    assert blocks_asked(of(Request, helper.log)) == list(range(1, 1 + swapped))
    visited.clear()
    helper.answer(*of(Request, helper.log))
    assert len(visited) < 51 * 8, "nor with each answer"


def test_an_urgent_block_is_asked_of_a_busy_peer_too_when_it_takes_long() -> None:
    world = World()
    site, slow, source = reader_and_server(world, 200, have=0)
    slow.offer(source)
    site.replicator.request_block(150, world.now)
    slow.turn()
    busy = Server(world, site, 0)
    busy.offer(source)
    busy.wait(2 * CONFIG.hotswap_after)
    assert 150 in blocks_asked(busy.log)


def test_a_lost_connection_gives_its_blocks_to_the_others() -> None:
    world = World()
    site, first, source = reader_and_server(world, 20, have=0)
    first.offer(source)
    second = Server(world, site, 0)
    second.offer(source)
    first.pair.cut()
    second.source = source
    second.serve()
    second.answer(*of(Request, second.log))
    assert site.core.complete


def test_a_bad_block_is_not_taken_and_asked_of_another_peer() -> None:
    world = World()
    site, liar, source = reader_and_server(world, 5, have=0)
    honest = Server(world, site, 0)
    asked = of(Request, liar.offer(source))
    honest.source = source
    honest.serve()
    honest.offer(source)
    good = source.prove(asked[0])
    bad = Data(request=good.request, fork=0, block=good.block._replace(value=b"bad"))
    reported = liar.send(bad)
    assert [m for m in reported if isinstance(m, Request)] == [
        Request(id=0, fork=0, upgrade=RequestUpgrade(0, 5))
    ]
    assert site.core.complete
    (event,) = site.events_of(PeerMisbehaved)
    assert (event.peer, event.fatal) == (liar.peer, False)
    assert not liar.peer.may_be_asked  # until it has proven that it is on our history
    liar.send(source.prove(Request(id=0, fork=0, upgrade=RequestUpgrade(0, 5))))
    assert liar.peer.may_be_asked


def test_a_peer_that_sends_bad_data_again_and_again_is_cut_off() -> None:
    world = World()
    site, liar, source = reader_and_server(world, 50, have=0)

    def lie(message: object) -> None:
        if isinstance(message, Request):
            data = source.prove(message)
            if data.block is not None:
                data = Data(request=data.request, fork=0, block=data.block._replace(value=b"bad"))
            liar.channel.send_frame(data)

    liar.on_message = lie
    liar.offer(source)
    assert not liar.pair.connected
    events = site.events_of(PeerMisbehaved)
    assert [event.fatal for event in events] == [False] * MAX_INVALID_ANSWERS + [True]
    assert site.core.bitfield.count == 0


def test_a_corrupt_block_does_not_cost_a_peer_that_gives_many_good_ones() -> None:
    world = World()
    site, server, source = reader_and_server(world, 1500, have=0)
    corrupt = set(range(200, 1500, 299))

    def serve(message: object) -> None:
        if isinstance(message, Request):
            data = source.prove(message)
            if data.block is not None and data.block.index in corrupt:
                data = Data(request=data.request, fork=0, block=data.block._replace(value=b"bad"))
            server.channel.send_frame(data)

    server.on_message = serve
    server.offer(source)
    assert len(corrupt) > MAX_INVALID_ANSWERS
    assert server.pair.connected
    assert site.core.bitfield.count == 1500 - len(corrupt)


def test_a_misplaced_node_is_held_against_a_peer_without_suspecting_the_writer() -> None:
    world = World()
    site, server, source = reader_and_server(world, 50, have=0)
    (request, *_) = of(Request, server.offer(source))
    data = source.prove(request)
    reported = server.send(
        Data(request=data.request, fork=0, block=data.block._replace(nodes=data.block.nodes[:-1]))
    )
    assert [m for m in reported if isinstance(m, Request) and m.id == 0] == []
    assert len(site.events_of(PeerMisbehaved)) == 1
    assert server.peer.may_be_asked


def test_an_upgrade_that_brings_nothing_is_not_asked_for_again_at_once() -> None:
    """A peer that promises more than it gives must not keep us busy."""
    world = World()
    writer = world.writer(5)
    site = world.reader(writer.core.key, source=writer.core, have=range(5))
    server = Server(world, site, 0)
    stale = writer.core.prove(Request(id=1, fork=0, upgrade=RequestUpgrade(0, 5)))

    def serve(message: object) -> None:
        if isinstance(message, Request):
            server.channel.send_frame(Data(request=message.id, fork=0, upgrade=stale.upgrade))

    server.on_message = serve
    server.send(Sync(fork=0, length=9, remote_length=5, can_upgrade=True))
    assert len(of(Request, server.log)) == 1
    server.send(Sync(fork=0, length=10, remote_length=5, can_upgrade=True))
    assert len(of(Request, server.log)) == 2


def test_blocks_lost_from_the_disk_are_fetched_again() -> None:
    world = World()
    writer = world.writer(50)
    reader = world.reader(writer.core.key)
    world.connect(reader, writer)
    assert world.run(until=lambda: reader.complete)
    reader.core.clear(10, 20)
    assert not reader.core.complete
    assert world.run(until=lambda: reader.complete)
    assert reader.blocks() == sample_blocks(50)


def test_only_what_is_needed_is_wanted_and_asked_for_when_all_is_here() -> None:
    world = World()
    site, server, source = reader_and_server(world, 20, have=20)
    reported = server.offer(source)
    assert of(Request, reported) + of(Want, reported) + of(Unwant, reported) == []
    assert site.replicator.next_deadline() is None


def test_every_block_emits_one_event() -> None:
    world = World()
    writer = world.writer(100)
    reader = world.reader(writer.core.key)
    world.connect(reader, writer, latency=0.02)
    assert world.run(until=lambda: reader.complete)
    reader.events  # noqa: B018
    assert sorted(event.index for event in reader.received) == list(range(100))
    assert all(isinstance(event, BlockReceived) for event in reader.received)
    assert sum(event.size for event in reader.received) == sum(map(len, sample_blocks(100)))
