"""How a site asks for blocks: of scripted peers, and of other sites."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from hypercore.crypto import KeyPair
from hypercore.manifest import Manifest, Prologue
from hypercore.replication import ReplicationConfig
from hypercore.replication.config import WANT_BATCH
from hypercore.replication.download_state import window
from hypercore.replication.hotswap import FIRST_HEAD_TIMEOUT
from hypercore.testing.cores import Writer, download, make_writer, sample_blocks
from hypercore.wire.control import Cancel, Range, Sync, Want
from hypercore.wire.data import Data
from hypercore.wire.request import Request
from support.downloads import CONFIG, blocks_asked, reader_and_server
from support.replication_world import Server, World, of

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
    assert [m for m in of(Request, server.send(Range(start=0, length=21))) if m.upgrade] == []


def test_the_first_upgrade_asks_for_the_manifest_and_the_block_that_no_prologue_ends_before() -> None:
    world = World()
    _site, server, source = reader_and_server(world, 20)
    (request,) = of(Request, server.offer(source))
    assert request.upgrade == (0, 20)
    assert request.block == (0, 0)
    assert request.manifest
    assert server.send(Range(start=0, length=20)) == []


@pytest.mark.parametrize("offered", [(1, 19), (0, 7)], ids=["not the first", "some were cleared"])
def test_the_first_upgrade_asks_a_peer_that_lacks_blocks_for_none(offered: tuple[int, int]) -> None:
    """Official peers that cleared blocks may have no proof of the first one, and end the connection."""
    world = World()
    made = make_writer(sample_blocks(20))
    server = Server(world, world.reader(made.core.key), 0)
    sync = Sync(fork=0, length=20, remote_length=0, can_upgrade=True, has_manifest=True)
    (request,) = of(Request, server.send(sync, Range(start=offered[0], length=offered[1])))
    assert (request.upgrade, request.block, request.manifest) == ((0, 20), None, True)


def test_the_first_upgrade_of_a_core_without_a_manifest_asks_for_the_last_block_as_well() -> None:
    world = World()
    made = make_writer(sample_blocks(20), compat=True)
    server = Server(world, world.reader(made.core.key), 0)
    sync = Sync(fork=0, length=20, remote_length=0, can_upgrade=True)
    (request,) = of(Request, server.send(sync, Range(start=0, length=20)))
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
    assert upgrade.block == {0: (0, 0), 7: (11, 0), 9: (11, 0)}[here]


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
def test_an_upgrade_is_requested_only_from_peers_that_can_give_it(sync: Sync) -> None:
    world = World()
    writer = world.writer(5)
    site = world.reader(writer.core.key, source=writer.core, have=range(5))
    writer.append(*sample_blocks(15, 5))
    server = Server(world, site, 0)
    assert of(Request, server.send(sync, Range(start=0, length=20))) == []


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
        (sync,) = of(Sync, script.send(Sync(fork=0, length=length, remote_length=20)))
        assert sync == Sync(fork=0, length=20, remote_length=length, can_upgrade=True, has_manifest=True)
    assert script.send(Sync(fork=0, length=20, remote_length=20)) == []


def test_the_manifest_of_an_empty_core_is_asked_for() -> None:
    world = World()
    site = world.reader(world.writer(1).core.key)
    script = world.script(site)
    (request,) = script.send(Sync(fork=0, length=0, remote_length=0, has_manifest=True))
    assert request == Request(id=request.id, fork=0, manifest=True)
    script.send(Data(request=request.id, fork=0, manifest=world.sites[0].core.manifest))
    assert site.core.manifest == world.sites[0].core.manifest


def test_a_peer_that_could_not_be_upgraded_gets_a_sync_when_it_can() -> None:
    """We got our head from elsewhere, without the roots that the peer has; they come along with blocks."""
    world = World()
    writer = world.writer(7)
    site = world.reader(writer.core.key, source=writer.core)
    site.replicator.download_ranges = []
    script = world.script(site)
    (sync,) = of(Sync, script.send(Sync(fork=0, length=3, remote_length=7)))
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
    assert blocks_asked(server.send(Range(start=70, length=3))) == [70, 71, 72]
    assert of(Want, server.send(Range(start=80))) == []


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
    reported = server.send(
        Sync(fork=0, length=20, remote_length=20, uploading=False), Range(start=0, length=20)
    )
    assert of(Request, reported) == []


@pytest.mark.parametrize(("have", "asked"), [([6], [0, 1, 2, 3, 4, 5]), ([30], [])])
def test_a_shorter_peer_is_asked_only_for_what_it_can_prove(have: list[int], asked: list[int]) -> None:
    """We must know the roots of its tree: those of 7 blocks come along with the proof of block 6."""
    world = World()
    writer = world.writer(40)
    site = world.reader(writer.core.key, source=writer.core, have=have)
    server = Server(world, site, 0)
    reported = server.send(Sync(fork=0, length=7, remote_length=40), Range(start=0, length=40))
    assert blocks_asked(reported) == asked


def test_a_peer_on_an_older_fork_is_asked_for_nothing() -> None:
    world = World()
    writer = world.writer(20)
    writer.truncate(10)
    site = world.reader(writer.core.key, source=writer.core)
    server = Server(world, site, 0)
    assert of(Request, server.send(Sync(fork=0, length=20, remote_length=0), Range(start=0, length=20))) == []


def test_only_the_ranges_are_downloaded_until_they_change() -> None:
    world = World()
    site, server, source = reader_and_server(world, 50, have=0)
    site.replicator.download_ranges = [(3, 5), (40, None)]
    assert blocks_asked(server.offer(source)) == [3, 4, *range(40, 50)]
    site.replicator.download_ranges = [(10, 12)]
    assert blocks_asked(server.turn()) == [10, 11]


# --- explicit blocks ----------------------------------------------------------------------------------------


def test_a_block_that_a_peer_waits_for_is_asked_for_before_all_others() -> None:
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
    reported = server.turn()
    assert blocks_asked(reported) == [7]
    assert of(Sync, reported)[-1].downloading
    reported = server.answer(*of(Request, reported))
    assert not of(Sync, reported)[-1].downloading


def test_a_block_that_does_not_exist_yet_is_fetched_when_it_does() -> None:
    world = World()
    writer = world.writer(5)
    reader = world.reader(writer.core.key)
    reader.replicator.download_ranges = []
    world.connect(reader, writer)
    reader.replicator.request_block(7, world.now)
    world.run_until_idle()
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


def test_a_block_that_no_peer_is_known_to_have_is_wanted() -> None:
    world = World()
    site, server, source = reader_and_server(world, 50, have=0)
    site.replicator.download_ranges = []
    site.replicator.request_block(7, world.now)
    assert of(Want, server.offer(source, announce=0)) == [Want(start=0, length=WANT_BATCH)]
    assert blocks_asked(server.send(Range(start=7))) == [7]
