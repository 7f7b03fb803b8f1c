"""Channels that come and go, and cores that rest."""

import gc
import tracemalloc

import pytest

from hypercore.core import Core
from hypercore.errors import InvalidCapability, StorageError
from hypercore.mux import CloseReason, Muxer
from hypercore.replication import (
    PROTOCOL,
    PeerClosed,
    PeerDeclined,
    PeerOpened,
    ReplicationConfig,
    Replicator,
    StorageFailed,
)
from hypercore.replication.config import MAX_PEERS, MAX_REOPENS
from hypercore.swarm.policy import MAX_PEERS as MAX_DIALLED
from hypercore.swarm.slots import MAX_CONNECTIONS
from hypercore.testing.cores import sample_blocks
from hypercore.testing.linked import LinkedPair
from hypercore.wire.control import NoData, Range, Sync
from hypercore.wire.request import Request, RequestBlock
from support.replication_world import Script, World, accept, of

IDLE = Sync(fork=0, length=10, remote_length=10, downloading=False)


def test_peers_that_open_and_close_emit_events() -> None:
    world = World()
    writer = world.writer(3)
    reader = world.reader(writer.core.key)
    pair = world.connect(reader, writer)
    world.run_until_idle()
    (opened,) = reader.events_of(PeerOpened)
    assert list(reader.replicator.peers) == [opened.peer]
    pair.cut()
    (closed,) = reader.events_of(PeerClosed)
    assert closed.peer is opened.peer
    assert not reader.replicator.peers


def test_a_core_is_spoken_about_when_the_other_side_asks() -> None:
    world = World()
    writer = world.writer(3)
    pair = world.link()
    pair.b.on_open(PROTOCOL, lambda name, now: accept(writer, pair.b, name, now))
    script_side = world.reader(writer.core.key)
    script_side.replicator.attach(pair.a, world.now)
    assert world.run(until=lambda: script_side.complete)


def test_an_unknown_core_is_rejected_and_may_be_asked_for_by_the_other_side_later() -> None:
    world = World()
    writer = world.writer(3)
    reader = world.reader(writer.core.key)
    pair = world.link()
    pair.b.on_open(PROTOCOL, lambda name, now: accept(writer, pair.b, name, now))
    writer.replicator.attach(pair.b, world.now)
    world.run_until_idle()
    assert not writer.replicator.peers
    reader.replicator.attach(pair.a, world.now)
    assert world.run(until=lambda: reader.complete)


def test_a_peer_that_rejects_a_core_is_known_until_it_has_it_or_leaves() -> None:
    world = World()
    writer = world.writer(3)
    reader = world.reader(writer.core.key)
    pair = world.link()
    pair.a.remote_public_key = bytes([7]) * 32
    pair.a.on_open(PROTOCOL, lambda name, now: accept(reader, pair.a, name, now))
    reader.replicator.attach(pair.a, world.now)
    assert reader.replicator.declined == set(), "not answered yet"
    world.run_until_idle()
    assert [event.remote_public_key for event in reader.events_of(PeerDeclined)] == [bytes([7]) * 32]
    assert reader.replicator.declined == {bytes([7]) * 32}
    writer.replicator.attach(pair.b, world.now)
    world.run_until_idle()
    assert reader.replicator.peers and reader.replicator.declined == set()

    again = world.link()
    reader.replicator.attach(again.a, world.now)
    world.run_until_idle()
    assert len(reader.replicator.declined) == 1
    again.cut()
    reader.replicator.detach(again.a, world.now)
    assert reader.replicator.declined == set()


def test_a_peer_that_does_not_know_the_key_is_cut_off() -> None:
    world = World()
    site = world.writer(3)
    pair = LinkedPair(world.clock)
    site.replicator.attach(pair.a, world.now)
    other_peer = Muxer(is_initiator=False, handshake_hash=bytes(64))
    other = World().writer(3)  # knows the key, but proves it for another connection
    other.replicator.attach(other_peer, 0)
    (opening, *_) = other_peer.take_output(0)
    pair.send_raw("b", opening)
    while pair.step():
        pass
    assert isinstance(pair.errors[0], InvalidCapability)
    assert not site.replicator.peers


def test_attaching_twice_gives_the_same_peer() -> None:
    world = World()
    site = world.writer(3)
    pair = world.link()
    assert site.replicator.attach(pair.a, 0) is site.replicator.attach(pair.a, 0)
    site.replicator.detach(pair.a, 0)
    assert len(list(pair.a)) == 0
    assert site.replicator.attach(pair.a, 0) is not None


def test_a_closed_replicator_lets_go_of_core_and_connections() -> None:
    world = World()
    site = world.writer(3)
    script = world.script(site)
    site.replicator.close(world.now)
    script.turn()
    assert script.closed is CloseReason.REMOTE
    assert site.core._listeners == []
    assert site.replicator.attach(world.link().a, world.now) is None
    site.append(b"unheard")
    assert script.turn() == []


# --- channels that nobody needs -----------------------------------------------------------------------------


def test_a_channel_stays_while_one_side_downloads() -> None:
    world = World()
    script = world.script(world.writer(10))
    assert script.send(IDLE) == []
    assert script.closed is None


def test_a_channel_is_closed_when_neither_side_downloads() -> None:
    world = World()
    site = world.writer(10)
    site.replicator.set_downloading(False, world.now)
    script = world.script(site)
    assert of(Sync, script.greeting)[0].downloading is False
    script.send(IDLE)
    assert script.closed is CloseReason.REMOTE


def test_turning_the_download_off_notifies_some_peers_and_closes_others() -> None:
    world = World()
    site = world.writer(10)
    idle, busy = world.script(site), world.script(site)
    idle.send(IDLE)
    busy.send(Sync(fork=0, length=10, remote_length=10))
    site.replicator.set_downloading(False, world.now)
    assert [sync.downloading for sync in of(Sync, busy.turn())] == [False]
    assert (idle.closed, busy.closed) == (CloseReason.REMOTE, None)


def test_turning_the_download_on_opens_the_channels_again() -> None:
    world = World()
    writer = world.writer(10)
    reader = world.reader(writer.core.key)
    world.connect(reader, writer)
    assert world.run(until=lambda: reader.complete)
    for site in (writer, reader):
        site.replicator.set_downloading(False, world.now)
    world.run_until_idle()
    assert not reader.replicator.peers
    assert not writer.replicator.peers
    writer.append(b"unheard")
    world.run_until_idle()
    assert reader.core.length == 10
    reader.replicator.set_downloading(True, world.now)
    assert world.run(until=lambda: reader.core.length == 11 and reader.complete)


def test_a_channel_closed_as_idle_is_opened_again_when_we_download() -> None:
    """The peer's close and our wish to download may have crossed."""
    world = World()
    site = world.writer(10)
    script = world.script(site)
    asked: list[bytes | None] = []
    script.pair.b.on_open(PROTOCOL, lambda name, now: bool(asked.append(name)))
    script.send(IDLE)
    script.channel.close(world.now)
    script.turn()
    assert asked == [site.core.discovery_key]


def test_a_peer_cannot_make_us_open_for_ever() -> None:
    world = World()
    site = world.writer(10)
    pair = world.link()
    site.replicator.attach(pair.a, world.now)
    opened: list[Script] = []

    def again(name: bytes | None, now: float) -> bool:
        script = Script.__new__(Script)
        script.world, script.site, script.pair = world, site, pair
        script.received, script.log, script.closed, script.on_message = [], [], None, None
        script.opened = False
        opened.append(script)
        script.join()
        script.channel.send_frame(IDLE)
        script.channel.close(now)
        return False

    pair.b.on_open(PROTOCOL, again)
    world.run_until_idle()
    assert len(opened) == 1 + MAX_REOPENS
    assert pair.connected


# --- cores that rest ----------------------------------------------------------------------------------------


def test_idle_cores_have_no_deadline_no_output_and_no_events() -> None:
    world = World()
    writer = world.writer(20)
    readers = [world.reader(writer.core.key) for _ in range(3)]
    pairs = [world.connect(reader, writer, latency=0.01) for reader in readers]
    assert world.run(until=lambda: all(reader.complete for reader in readers))
    world.run_until_idle()
    for site in world.sites:
        assert site.replicator.next_deadline() is None
        site.events  # noqa: B018
        assert site.replicator.next_event() is None
    before = [pair.messages_sent for pair in pairs]
    world.clock.advance(3600)
    world.run_until_idle()
    assert [pair.messages_sent for pair in pairs] == before


@pytest.mark.slow
def test_an_idle_channel_costs_little_memory() -> None:
    world = World()
    core = world.writer(20).core
    gc.collect()
    tracemalloc.start()
    muxers = [Muxer(is_initiator=True, handshake_hash=bytes(64)) for _ in range(200)]
    before, _ = tracemalloc.get_traced_memory()
    replicator = Replicator(core)
    peers = [replicator.attach(muxer, 0) for muxer in muxers]
    for muxer in muxers:
        muxer.take_output(0)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(peers) == 200
    assert (after - before) / 200 < 6000


def test_the_shell_is_woken_for_events_and_deadlines_only_when_there_are_new_ones() -> None:
    world = World()
    writer = world.writer(5)
    reader = world.reader(writer.core.key)
    woken: list[int] = []
    reader.replicator._on_wake = lambda: woken.append(1)
    world.connect(reader, writer, latency=0.01)
    world.run(until=lambda: bool(reader.replicator.peers))
    assert len(woken) == 1
    world.run(until=lambda: reader.complete)
    assert len(woken) == 2  # the first request; its deadline covers the later ones


# --- the disk -----------------------------------------------------------------------------------------------


def test_a_block_that_cannot_be_read_is_refused_and_emits_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    site = world.writer(10)
    script = world.script(site)

    def broken(self: Core, request: Request) -> None:
        raise StorageError("the disk is gone")

    monkeypatch.setattr(Core, "prove", broken)
    assert script.send(Request(id=1, fork=0, block=RequestBlock(3, 0))) == [NoData(request=1, reason=1)]
    assert len(site.events_of(StorageFailed)) == 1
    assert script.pair.connected


def test_blocks_that_cannot_be_stored_are_asked_for_again_after_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    writer = world.writer(blocks=sample_blocks(50))
    reader = world.reader(writer.core.key, source=writer.core)

    def broken(self: Core, data: object, *, applier: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Core, "apply", broken)
        world.connect(reader, writer)
        world.run(seconds=1, until=lambda: False)
        assert reader.core.bitfield.count == 0
        assert 0 < len(reader.events_of(StorageFailed)) < 60
    assert world.run(until=lambda: reader.complete)


def test_corruption_found_while_serving_is_taken_back_and_fetched_again() -> None:
    world = World()
    writer = world.writer(20)
    middle = world.reader(writer.core.key, source=writer.core, have=range(20))
    middle.store.flush()
    corrupt(middle.core, 7)
    script = world.script(middle)
    script.send(Sync(fork=0, length=20, remote_length=20))
    reported = script.send(Request(id=1, fork=0, block=RequestBlock(7, 0)))
    assert reported[0] == Range(start=7, drop=True)
    assert NoData(request=1, reason=1) in reported
    assert not middle.core.has(7)
    world.connect(middle, writer)
    assert world.run(until=lambda: middle.complete)
    assert middle.blocks() == sample_blocks(20)


def corrupt(core: Core, index: int) -> None:
    """Change a byte of a stored block behind the back of every peer."""
    backend = core.storage._shared.backend
    original = backend.read_inline

    def read(core_id: int, at: int) -> bytes | None:
        value = original(core_id, at)
        if at == index and value is not None and core.has(index):
            return bytes([value[0] ^ 1]) + value[1:]
        return value

    backend.read_inline = read


def test_a_core_has_so_many_peers_and_rejects_the_others_until_one_has_gone() -> None:
    assert ReplicationConfig().max_peers == MAX_PEERS
    assert MAX_PEERS >= MAX_CONNECTIONS + MAX_DIALLED, "two hosts could take all channels of a core"
    world = World()
    writer = world.writer(10, config=ReplicationConfig(max_peers=2))
    readers = [world.reader(writer.core.key) for _ in range(3)]
    pairs = [world.connect(reader, writer) for reader in readers]
    world.run_until_idle()
    assert [reader.complete for reader in readers] == [True, True, False]
    assert len(writer.replicator.peers) == 2
    assert readers[2].replicator.peers == {}.keys()
    writer.replicator.detach(pairs[0].b, world.now)
    world.connect(readers[2], writer)
    assert world.run(until=lambda: readers[2].complete)
