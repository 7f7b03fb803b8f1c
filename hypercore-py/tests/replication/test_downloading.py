"""How a site asks for blocks: of scripted peers, and of other sites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from hypercore.core import Core
from hypercore.crypto import KeyPair
from hypercore.manifest import Manifest, Prologue
from hypercore.replication import BlockReceived, Peer, PeerMisbehaved, ReplicationConfig
from hypercore.replication.availability import Availability
from hypercore.replication.config import MAX_HOLDERS, MAX_INVALID_ANSWERS, MAX_REFUSALS, WANT_BATCH
from hypercore.replication.download_state import window
from hypercore.replication.downloader import Downloader
from hypercore.replication.hotswap import FIRST_HEAD_TIMEOUT, HEAD_TIMEOUT
from hypercore.testing.cores import Writer, download, make_writer, sample_blocks
from hypercore.wire.control import Cancel, NoData, Range, Sync, Unwant, Want
from hypercore.wire.data import Data
from hypercore.wire.request import Request, RequestUpgrade
from support.replication_world import Script, Server, Site, World, of

CONFIG = ReplicationConfig()


def reader_and_server(
    world: World, length: int, *, have: int | None = None, config: ReplicationConfig | None = None
) -> tuple[Site, Server, Core]:
    """A reader (at the head, without blocks, or with the first `have`) and a scripted seeder."""
    writer = world.writer(length)
    source = None if have is None else writer.core
    site = world.reader(writer.core.key, source=source, have=range(have or 0), config=config)
    return site, Server(world, site, 0), writer.core


def blocks_asked(messages: list) -> list[int]:
    return [message.block.index for message in messages if isinstance(message, Request) and message.block]


# --- upgrades -----------------------------------------------------------------------------------------------


def test_an_upgrade_is_asked_for_once_with_the_last_block() -> None:
    world = World()
    site, server, source = reader_and_server(world, 20, have=0)
    download(source, site.core, [])
    made = make_writer(sample_blocks(20))
    made.append(b"one more")
    server.offer(made.core)
    (request,) = [message for message in of(Request, server.log) if message.upgrade]
    assert request.upgrade == (20, 1)
    assert request.block == (20, 0)
    assert not request.manifest
    assert [m for m in of(Request, server.say(Range(start=0, length=21))) if m.upgrade] == []


def test_the_first_upgrade_asks_for_the_manifest_and_for_no_block_that_may_lie_behind_its_prologue() -> None:
    world = World()
    _site, server, source = reader_and_server(world, 20)
    (request,) = of(Request, server.offer(source))
    assert request.upgrade == (0, 20)
    assert request.block is None
    assert request.manifest
    assert server.say(Range(start=0, length=20)) == []


def test_the_first_upgrade_of_a_core_without_a_manifest_asks_for_the_last_block_as_well() -> None:
    world = World()
    made = make_writer(sample_blocks(20), compat=True)
    server = Server(world, world.reader(made.core.key), 0)
    sync = Sync(fork=0, length=20, remote_length=0, can_upgrade=True)
    (request,) = of(Request, server.say(sync, Range(start=0, length=20)))
    assert (request.upgrade, request.block, request.manifest) == ((0, 20), (19, 0), False)


class WithPrologue(NamedTuple):
    """A core whose first 7 blocks are the prologue of its manifest."""

    writer: Writer
    length: int = 7

    @classmethod
    def make(cls, blocks: int) -> WithPrologue:
        start = make_writer(sample_blocks(cls._field_defaults["length"])).core
        keys = KeyPair.from_seed(bytes([1]) * 32)
        manifest = Manifest.create((keys.public_key,), prologue=Prologue(start.head.hash(), start.length))
        return cls(make_writer(sample_blocks(blocks), manifest=manifest))


@pytest.mark.parametrize("here", [0, 7, 9])
@pytest.mark.parametrize("known", [True, False], ids=["manifest known", "manifest unknown"])
def test_no_block_behind_a_prologue_is_asked_for_together_with_the_upgrade_over_it(
    here: int, known: bool
) -> None:
    """Official servers end the connection at such a request."""
    source = WithPrologue.make(12).writer.core
    earlier = WithPrologue.make(here).writer.core
    world = World()
    site = world.reader(source.key, source=earlier if here else None, have=range(here))
    if known:
        assert source.manifest is not None
        site.core.set_manifest(source.manifest)
    server = Server(world, site, 0)
    server.serve()
    server.offer(source)
    assert world.run(until=lambda: site.complete)
    (upgrade,) = [request for request in of(Request, server.log) if request.upgrade]
    assert upgrade.upgrade == (here, 12 - here)
    assert (upgrade.block is None) is (here < 7)


def test_the_last_block_is_not_asked_for_when_only_a_part_is_downloaded() -> None:
    world = World()
    site, server, source = reader_and_server(world, 20)
    site.replicator.download_ranges = [(0, 5)]
    (request,) = of(Request, server.offer(source))
    assert request.block is None


@pytest.mark.parametrize(
    "sync",
    [
        Sync(fork=0, length=20, remote_length=3, can_upgrade=True, has_manifest=True),
        Sync(fork=0, length=20, remote_length=5, can_upgrade=False, has_manifest=True),
        Sync(fork=0, length=20, remote_length=5, can_upgrade=True, uploading=False),
        Sync(fork=0, length=5, remote_length=5, can_upgrade=True, has_manifest=True),
    ],
    ids=["length not acknowledged", "cannot upgrade us", "does not upload", "nothing new"],
)
def test_an_upgrade_is_asked_only_of_who_can_give_it(sync: Sync) -> None:
    world = World()
    writer = world.writer(5)
    site = world.reader(writer.core.key, source=writer.core, have=range(5))
    writer.append(*sample_blocks(15, 5))
    server = Server(world, site, 0)
    assert of(Request, server.say(sync, Range(start=0, length=20))) == []


def test_an_upgrade_is_on_its_way_to_one_peer_at_a_time() -> None:
    world = World()
    site, first, source = reader_and_server(world, 20)
    second = Server(world, site, 0)
    assert len(of(Request, first.offer(source))) == 1
    assert of(Request, second.offer(source)) == []


def test_an_upgrade_that_takes_long_is_asked_of_another_peer() -> None:
    world = World()
    site, first, source = reader_and_server(world, 20)
    second = Server(world, site, 0)
    first.offer(source)
    second.offer(source)
    second.wait(2 * FIRST_HEAD_TIMEOUT)
    (asked,) = of(Request, second.log)
    assert asked.upgrade == (0, 20)


def test_an_acknowledgement_is_sent_for_every_shorter_length() -> None:
    world = World()
    script = world.script(world.writer(20))
    for length in (0, 7, 7, 19):
        (sync,) = of(Sync, script.say(Sync(fork=0, length=length, remote_length=20)))
        assert sync == Sync(fork=0, length=20, remote_length=length, can_upgrade=True, has_manifest=True)
    assert script.say(Sync(fork=0, length=20, remote_length=20)) == []


def test_the_manifest_of_an_empty_core_is_asked_for() -> None:
    world = World()
    site = world.reader(world.writer(1).core.key)
    script = world.script(site)
    (request,) = script.say(Sync(fork=0, length=0, remote_length=0, has_manifest=True))
    assert request == Request(id=request.id, fork=0, manifest=True)
    script.say(Data(request=request.id, fork=0, manifest=world.sites[0].core.manifest))
    assert site.core.manifest == world.sites[0].core.manifest


def test_a_peer_that_could_not_be_upgraded_is_told_when_it_can() -> None:
    """We got our head from elsewhere, without the roots that the peer has; they come along with blocks."""
    world = World()
    writer = world.writer(7)
    site = world.reader(writer.core.key, source=writer.core)
    site.replicator.download_ranges = []
    script = world.script(site)
    (sync,) = of(Sync, script.say(Sync(fork=0, length=3, remote_length=7)))
    assert not sync.can_upgrade
    download(writer.core, site.core, [2])
    (sync,) = of(Sync, script.turn())
    assert sync.can_upgrade
    assert sync.remote_length == 3
    download(writer.core, site.core, [3])
    assert of(Sync, script.turn()) == []


# --- blocks -------------------------------------------------------------------------------------------------


def test_blocks_are_asked_for_in_order_up_to_the_window() -> None:
    world = World()
    _site, server, source = reader_and_server(world, 200, have=0)
    asked = blocks_asked(server.offer(source))
    assert asked == list(range(CONFIG.inflight_min))
    requests = {request.block.index: request for request in server.log if isinstance(request, Request)}
    assert blocks_asked(server.answer(requests[0], requests[5]))[:2] == [16, 17]


def test_small_blocks_are_asked_for_in_larger_numbers() -> None:
    assert window(CONFIG, 0.001, 1, 0) == 16
    assert window(CONFIG, None, 1, 0) == 48
    assert window(CONFIG, 0.5, 1, 0) == 160
    assert window(CONFIG, 0.5, 10, 0) == 32
    assert window(CONFIG, 60, 1, 0) == 512
    assert window(CONFIG, 0.001, 1, 65536) == 64
    assert window(CONFIG, 0.001, 1, 10) == 512
    assert window(CONFIG, 0.001, 1, 10**7) == 16


def test_blocks_come_from_peers_that_each_have_a_part() -> None:
    world = World()
    writer = world.writer(300)
    parts = [world.reader(writer.core.key, source=writer.core, have=range(n, 300, 3)) for n in range(3)]
    reader = world.reader(writer.core.key)
    for part in parts:
        part.replicator.download_ranges = []
        world.connect(reader, part, latency=0.01)
    assert world.run(until=lambda: reader.complete)
    assert reader.blocks() == sample_blocks(300)
    reader.events  # noqa: B018 - sorts out the blocks
    assert sorted(event.index for event in reader.received) == list(range(300))


def test_a_region_is_wanted_when_it_is_not_known_what_the_peer_has() -> None:
    world = World()
    _site, server, source = reader_and_server(world, 100, have=0)
    assert of(Want, server.offer(source, announce=0)) == [Want(start=0, length=WANT_BATCH)]
    assert blocks_asked(server.say(Range(start=70, length=3))) == [70, 71, 72]
    assert of(Want, server.say(Range(start=80))) == []


def test_small_wants_are_sent_when_configured() -> None:
    world = World()
    _site, server, source = reader_and_server(world, 5000, have=0, config=ReplicationConfig(want_batch=4096))
    assert of(Want, server.offer(source, announce=0)) == [
        Want(start=0, length=4096),
        Want(start=4096, length=4096),
    ]


def test_nothing_is_asked_of_a_peer_that_does_not_upload() -> None:
    world = World()
    _site, server, _source = reader_and_server(world, 20, have=0)
    said = server.say(Sync(fork=0, length=20, remote_length=20, uploading=False), Range(start=0, length=20))
    assert of(Request, said) == []


@pytest.mark.parametrize(("have", "asked"), [([6], [0, 1, 2, 3, 4, 5]), ([30], [])])
def test_a_shorter_peer_is_asked_only_for_what_it_can_prove(have: list[int], asked: list[int]) -> None:
    """We must know the roots of its tree: those of 7 blocks come along with the proof of block 6."""
    world = World()
    writer = world.writer(40)
    site = world.reader(writer.core.key, source=writer.core, have=have)
    server = Server(world, site, 0)
    said = server.say(Sync(fork=0, length=7, remote_length=40), Range(start=0, length=40))
    assert blocks_asked(said) == asked


def test_a_peer_on_an_older_fork_is_asked_for_nothing() -> None:
    world = World()
    writer = world.writer(20)
    writer.truncate(10)
    site = world.reader(writer.core.key, source=writer.core)
    server = Server(world, site, 0)
    assert of(Request, server.say(Sync(fork=0, length=20, remote_length=0), Range(start=0, length=20))) == []


def test_only_the_ranges_are_downloaded_until_they_change() -> None:
    world = World()
    site, server, source = reader_and_server(world, 50, have=0)
    site.replicator.download_ranges = [(3, 5), (40, None)]
    assert blocks_asked(server.offer(source)) == [3, 4, *range(40, 50)]
    site.replicator.download_ranges = [(10, 12)]
    assert blocks_asked(server.turn()) == [10, 11]


# --- explicit blocks ----------------------------------------------------------------------------------------


def test_a_block_that_somebody_waits_for_is_asked_for_before_all_others() -> None:
    world = World()
    site, server, source = reader_and_server(world, 200, have=0)
    server.offer(source)
    assert not site.replicator.request_block(150, world.now)
    (request,) = of(Request, server.turn())  # beyond the window, which is full
    assert (request.block.index, request.priority) == (150, 1)
    server.answer(request)
    assert site.replicator.request_block(150, world.now)
    site.events  # noqa: B018
    assert [event.index for event in site.received] == [150]


def test_explicit_blocks_are_fetched_though_nothing_else_is() -> None:
    world = World()
    site, server, source = reader_and_server(world, 50, have=0)
    site.replicator.set_downloading(False, world.now)
    assert of(Request, server.offer(source)) == []
    site.replicator.request_block(7, world.now)
    said = server.turn()
    assert blocks_asked(said) == [7]
    assert of(Sync, said)[-1].downloading
    said = server.answer(*of(Request, said))
    assert not of(Sync, said)[-1].downloading


def test_a_block_that_does_not_exist_yet_is_fetched_when_it_does() -> None:
    world = World()
    writer = world.writer(5)
    reader = world.reader(writer.core.key)
    reader.replicator.download_ranges = []
    world.connect(reader, writer)
    reader.replicator.request_block(7, world.now)
    world.settle()
    assert reader.core.length == 5
    writer.append(*sample_blocks(5, 5))
    assert world.run(until=lambda: reader.core.has(7))
    assert reader.core.bitfield.count == 1


def test_a_cancelled_block_is_taken_back_unless_it_is_downloaded_anyway() -> None:
    world = World()
    site, server, source = reader_and_server(world, 50, have=0)
    site.replicator.download_ranges = [(10, 11)]
    site.replicator.request_block(7, world.now)
    site.replicator.request_block(10, world.now)
    asked = of(Request, server.offer(source))
    assert blocks_asked(asked) == [7, 10]
    site.replicator.cancel_block(7, world.now)
    site.replicator.cancel_block(10, world.now)
    assert server.turn() == [Cancel(request=asked[0].id)]


def test_a_block_nobody_is_known_to_have_is_wanted() -> None:
    world = World()
    site, server, source = reader_and_server(world, 50, have=0)
    site.replicator.download_ranges = []
    site.replicator.request_block(7, world.now)
    assert of(Want, server.offer(source, announce=0)) == [Want(start=0, length=WANT_BATCH)]
    assert blocks_asked(server.say(Range(start=7))) == [7]


# --- what goes wrong ----------------------------------------------------------------------------------------


def test_a_refused_block_is_asked_of_another_peer_and_not_again_of_this_one() -> None:
    world = World()
    site, first, source = reader_and_server(world, 8, have=0)
    asked = of(Request, first.offer(source))
    second = Server(world, site, 0)
    assert of(Request, second.offer(source)) == []
    first.say(NoData(request=asked[3].id, reason=1))
    (request,) = of(Request, second.log)
    assert request.block.index == 3
    second.say(NoData(request=request.id))
    assert blocks_asked([*first.log, *second.log]).count(3) == 2
    assert blocks_asked(first.say(Range(start=3))) == [3]


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
    server.say(Data(request=999, fork=0, block=other.block))
    server.say(Data(request=asked[0].id, fork=0, block=other.block))  # another block than it was asked for
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


def test_a_slow_writer_among_silent_strangers_has_longer_each_time() -> None:
    """Strangers have little time, but whoever needs more than they is not given up for it."""
    world = World()
    writer = world.writer(10)
    site = world.reader(writer.core.key)
    silent = [Script(world, site, 0) for _ in range(3)]
    for script in silent:
        script.say(Sync(fork=0, length=50, remote_length=0, can_upgrade=True, has_manifest=True))
    world.connect(writer, site, latency=0.9)
    assert world.run(until=lambda: site.complete, seconds=(1 + 2 + 3) * 5)


@pytest.mark.parametrize("liars", [2, 5])
def test_strangers_that_claim_a_longer_head_do_not_take_turns_for_ever(liars: int) -> None:
    """One peer is asked for the head at a time, and they came first."""
    world = World()
    writer = world.writer(10)
    site = world.reader(writer.core.key)
    silent = [Script(world, site, 0) for _ in range(liars)]

    def claim() -> None:
        for script in silent:
            script.say(
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
    """Strangers that claim all and are silent, beside strangers that have a block that we have."""
    looked: list[Peer] = []
    for owner, name in ((Downloader, "can_give"), (Availability, "has"), (Availability, "first_in")):
        original = getattr(owner, name)

        def counted(*args: Any, original: Callable[..., Any] = original) -> Any:
            looked.append(args[1])
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
    looked.clear()
    world.clock.now += 2 * CONFIG.hotswap_after
    site.handle_timer(world.now)
    swapped = len(site.replicator.downloader.requests) - asked
    assert 0 < swapped <= 20 and len(looked) < 2 * (51 + swapped), "not for each late block and peer"
    helper.turn()
    assert blocks_asked(of(Request, helper.log)) == list(range(1, 1 + swapped))
    looked.clear()
    helper.answer(*of(Request, helper.log))
    assert len(looked) < 51 * 8, "nor with each answer"


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
    said = liar.say(bad)
    assert [m for m in said if isinstance(m, Request)] == [
        Request(id=0, fork=0, upgrade=RequestUpgrade(0, 5))
    ]
    assert site.core.complete
    (event,) = site.told(PeerMisbehaved)
    assert (event.peer, event.fatal) == (liar.peer, False)
    assert not liar.peer.may_be_asked  # until it has proven that it is on our history
    liar.say(source.prove(Request(id=0, fork=0, upgrade=RequestUpgrade(0, 5))))
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
    events = site.told(PeerMisbehaved)
    assert [event.fatal for event in events] == [False] * MAX_INVALID_ANSWERS + [True]
    assert site.core.bitfield.count == 0


def test_a_rotten_block_does_not_cost_a_peer_that_gives_many_good_ones() -> None:
    world = World()
    site, server, source = reader_and_server(world, 1500, have=0)
    rotten = set(range(200, 1500, 299))

    def serve(message: object) -> None:
        if isinstance(message, Request):
            data = source.prove(message)
            if data.block is not None and data.block.index in rotten:
                data = Data(request=data.request, fork=0, block=data.block._replace(value=b"bad"))
            server.channel.send_frame(data)

    server.on_message = serve
    server.offer(source)
    assert len(rotten) > MAX_INVALID_ANSWERS
    assert server.pair.connected
    assert site.core.bitfield.count == 1500 - len(rotten)


def test_a_misplaced_node_is_held_against_a_peer_without_suspecting_the_writer() -> None:
    world = World()
    site, server, source = reader_and_server(world, 50, have=0)
    (request, *_) = of(Request, server.offer(source))
    data = source.prove(request)
    said = server.say(
        Data(request=data.request, fork=0, block=data.block._replace(nodes=data.block.nodes[:-1]))
    )
    assert [m for m in said if isinstance(m, Request) and m.id == 0] == []
    assert len(site.told(PeerMisbehaved)) == 1
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
    server.say(Sync(fork=0, length=9, remote_length=5, can_upgrade=True))
    assert len(of(Request, server.log)) == 1
    server.say(Sync(fork=0, length=10, remote_length=5, can_upgrade=True))
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
    said = server.offer(source)
    assert of(Request, said) + of(Want, said) + of(Unwant, said) == []
    assert site.replicator.next_deadline() is None


def test_every_block_is_told_about_once() -> None:
    world = World()
    writer = world.writer(100)
    reader = world.reader(writer.core.key)
    world.connect(reader, writer, latency=0.02)
    assert world.run(until=lambda: reader.complete)
    reader.events  # noqa: B018
    assert sorted(event.index for event in reader.received) == list(range(100))
    assert all(isinstance(event, BlockReceived) for event in reader.received)
    assert sum(event.size for event in reader.received) == sum(map(len, sample_blocks(100)))
