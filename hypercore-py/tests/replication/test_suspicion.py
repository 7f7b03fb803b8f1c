"""Connections that end at a request, and peers that send bad data: what is asked again, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, ValuesView

import pytest

from hypercore.core import Core
from hypercore.errors import RemoteProtocolError
from hypercore.mux import CloseReason
from hypercore.replication import BackedOff, PeerMisbehaved
from hypercore.replication.availability import Availability
from hypercore.replication.field_budget import FieldBudget
from hypercore.replication.suspicion import (
    BAD_DATA_BACKOFF,
    BLOCK_BACKOFF,
    HEAD,
    MAX_ALL_SUSPECTS,
    MAX_BACKOFF,
    MAX_BAD_CORES,
    MAX_DOUBTED,
    MAX_FALSE_ALARMS,
    MAX_RECORDS,
    MAX_SUSPECTS,
    SINGLE_TRIALS,
    Record,
    Suspicions,
)
from hypercore.replication.trials import MAX_QUIET_WAIT
from hypercore.testing.cores import sample_blocks
from hypercore.wire.control import Range, Sync
from hypercore.wire.request import Request
from support.replication_world import Script, Site, World, of

PEER, OTHER = b"p" * 32, b"q" * 32
CORE = b"c" * 32


class Fragile(Script):
    """An official peer: it ends the connection at a request that it cannot prove."""

    def __init__(self, world: World, site: Site, source: Core, deadly: Callable[[Request], bool]) -> None:
        self.source = source
        self.deadly = deadly
        self.asked: list[Request] = []
        super().__init__(world, site, 0.01, remote=PEER)
        self.on_message = self._serve

    def _serve(self, message: object) -> None:
        if not isinstance(message, Request) or not self.pair.connected:
            return
        self.asked.append(message)
        if self.deadly(message):
            self.pair.a.ended_by_peer = True
            self.pair.cut()
        else:
            self.channel.send_frame(self.source.prove(message))

    def offer(self, *ranges: tuple[int, int]) -> None:
        self.send(
            Sync(
                fork=0,
                length=self.source.length,
                remote_length=self.site.core.length,
                can_upgrade=True,
                has_manifest=True,
            ),
            *(Range(start=start, length=end - start) for start, end in ranges),
        )

    @property
    def ended(self) -> bool:
        return not self.pair.connected


def world_with(length: int, *, known: bool = True) -> tuple[World, Site, Core]:
    world = World()
    writer = world.writer(length)
    site = world.reader(writer.core.key, source=writer.core if known else None)
    return world, site, writer.core


def poison(*blocks: int) -> Callable[[Request], bool]:
    return lambda request: request.block is not None and request.block.index in blocks


def live(
    world: World, site: Site, source: Core, deadly: Callable[[Request], bool], *ranges: tuple[int, int]
) -> list[Fragile]:
    """The peer connects again whenever its connection has ended, until nothing happens any more."""
    peers: list[Fragile] = []
    for _ in range(20):
        peer = Fragile(world, site, source, deadly)
        peers.append(peer)
        peer.offer(*(ranges or [(0, source.length)]))
        world.run(until=lambda peer=peer: peer.ended, seconds=100)
        if not peer.ended:
            break
    return peers


def test_a_block_that_ends_the_connection_is_found_and_not_asked_for_again() -> None:
    world, site, source = world_with(200)
    peers = live(world, site, source, poison(57))
    # Once with all others on their way, once with some that were tried at a time, and once alone
    assert len(peers) == 4
    assert [index for index in range(200) if not site.core.has(index)] == [57]
    (notified,) = site.events_of(BackedOff)
    assert notified.remote_public_key == PEER
    assert "block 57" in notified.reason
    assert notified.seconds == BLOCK_BACKOFF
    assert sum(map(peers[0].deadly, (request for peer in peers for request in peer.asked))) == 3


def test_trials_begin_as_soon_on_a_young_clock_as_on_an_old_one() -> None:
    took = []
    for start in (0.0, 2.0**20):
        world, site, source = world_with(200)
        world.clock.now = start
        live(world, site, source, poison(57))
        took.append(round(world.now - start, 6))
    assert took[0] == took[1]


def test_a_refused_block_is_tried_again_when_the_peer_has_news_and_later_each_time() -> None:
    world, site, source = world_with(20)
    made = world.sites[0]
    peers = live(world, site, source, poison(5))
    notified = [BLOCK_BACKOFF]
    for _ in range(2):
        made.append(b"more")
        made.flush()
        peer = peers[-1] if not peers[-1].ended else Fragile(world, site, source, poison(5))
        peers.append(peer)
        peer.offer((0, source.length))
        peer.wait(notified[-1] / 2)
        assert not peer.ended, "not before its time"
        peer.wait(notified[-1])
        assert peer.ended
        notified.append(2 * notified[-1])
        assert [event.seconds for event in site.events_of(BackedOff)] == notified
    made.append(b"more")
    made.flush()
    again = Fragile(world, site, source, poison())
    again.offer((0, source.length))
    again.wait(notified[-1] + 10)
    assert site.complete


def test_a_refused_block_costs_no_more_connections_while_the_peer_says_nothing_new() -> None:
    """It cannot prove now what it could not prove then."""
    world, site, source = world_with(20)
    live(world, site, source, poison(5))[-1].pair.cut()
    for _ in range(10):  # however often it connects
        peer = Fragile(world, site, source, poison(5))
        peer.offer((0, 20))
        peer.wait(MAX_BACKOFF / 11)
        assert not peer.ended
        peer.pair.cut()
    assert len(site.events_of(BackedOff)) == 1
    peer = Fragile(world, site, source, poison())
    peer.offer((0, 20))
    peer.wait(MAX_BACKOFF / 11 + 10)
    assert site.complete, "in the end it is tried all the same"


def test_another_peer_gives_what_one_refuses() -> None:
    world, site, source = world_with(50)
    live(world, site, source, poison(5))
    healthy = world.reader(source.key, source=source, have=range(50))
    world.connect(site, healthy)
    assert world.run(until=lambda: site.complete, seconds=5)


def test_a_head_that_ends_the_connection_is_backed_off_alone() -> None:
    world, site, source = world_with(30)
    made = world.sites[0]
    made.append(*sample_blocks(5, 30))
    made.flush()
    peers = live(world, site, source, lambda request: request.upgrade is not None)
    assert len(peers) == 3
    assert site.core.length == 30
    assert site.complete
    (notified,) = site.events_of(BackedOff)
    assert "its head" in notified.reason


def test_a_connection_that_ends_by_itself_makes_no_peer_suspect() -> None:
    world, site, source = world_with(100)
    peer = Fragile(world, site, source, poison())
    peer.on_message = None
    peer.offer((0, 100))
    peer.pair.cut()  # the network, or we ourselves
    again = Fragile(world, site, source, poison())
    again.offer((0, 100))
    assert world.run(until=lambda: site.complete, seconds=1)
    assert site.events_of(BackedOff) == []


@pytest.mark.parametrize(
    ("start", "doubted"), [(20, []), (21, [20]), (19, [16, 17, 18]), (7, list(range(7))), (1, [0])]
)
def test_blocks_before_a_hole_at_an_odd_number_are_doubted(start: int, doubted: list[int]) -> None:
    there = Availability(FieldBudget())
    there.on_range(0, 64, 64, drop=False)
    assert not any(there.may_lack_proof(index, 64) for index in range(64))
    there.on_range(start, 30 - start, 64, drop=True)
    assert [index for index in range(64) if there.has(index) and there.may_lack_proof(index, 64)] == doubted


def test_doubted_blocks_come_last_and_cost_one_connection_for_all() -> None:
    world, site, source = world_with(64)
    peers = live(world, site, source, poison(16, 17, 18), (0, 19), (31, 64))
    assert len(peers) == 2
    (*before, last) = peers[0].asked
    assert last.block is not None
    assert last.block.index in (16, 17, 18)
    assert not any(map(peers[0].deadly, before))
    assert len(before) >= 16 + 33
    assert site.core.bitfield.count == 16 + 33
    assert len(site.events_of(BackedOff)) == 1


def test_a_peer_that_proves_what_was_doubted_is_trusted() -> None:
    """A reader that has some blocks has what proves them."""
    world, site, source = world_with(400)
    holes = [(start, start + 1) for start in range(0, 400, 2)]
    peer = Fragile(world, site, source, poison())
    peer.offer(*holes)
    assert world.run(until=lambda: site.core.bitfield.count == 200, seconds=20)
    record = site.replicator.suspicions.find(PEER, source.key)
    assert record is not None
    assert record.false_alarms >= MAX_FALSE_ALARMS
    assert not record.doubted
    assert site.events_of(BackedOff) == []


def test_doubt_ends_when_the_peer_announces_the_hole() -> None:
    world, site, source = world_with(40)
    peer = Fragile(world, site, source, poison())
    peer.offer((0, 21))
    assert world.run(until=lambda: site.core.bitfield.count == 20, seconds=0.5)
    peer.send(Range(start=0, length=40))
    assert world.run(until=lambda: site.complete, seconds=0.5)


def test_trials_wait_for_other_transfers_from_the_peer_but_not_for_ever() -> None:
    world, site, source = world_with(64)
    peer = Fragile(world, site, source, poison(20))
    peer.offer((0, 21), (30, 64))
    began = world.now
    while not peer.ended and world.now < began + 60:
        peer.pair.a.answered_at = world.now  # another core comes over the same connection
        peer.wait(0.25)
    assert MAX_QUIET_WAIT <= world.now - began < MAX_QUIET_WAIT + 3


def test_trials_begin_although_more_is_doubted_all_the_time() -> None:
    world, site, source = world_with(400)
    peer = Fragile(world, site, source, poison())
    for end in range(1, 401, 4):  # each of these ends before an odd number
        peer.offer((0, end))
        peer.wait(0.1)
    assert world.run(until=lambda: site.core.bitfield.count >= 390, seconds=5)


def test_suspects_that_cannot_be_asked_for_hold_up_no_others() -> None:
    world, site, source = world_with(400)
    suspicions = site.replicator.suspicions
    suspicions.ended(PEER, source.key, range(300), world.now)
    peer = Fragile(world, site, source, poison())
    peer.offer((250, 400))
    assert world.run(until=lambda: site.core.bitfield.count == 150, seconds=10)


# --- bad data


def forged(request: Request, source: Core) -> object:
    data = source.prove(request)
    assert data.block is not None
    return data.__class__(request=request.id, fork=0, block=data.block._replace(value=b"forged"))


def test_a_core_with_bad_data_is_backed_off_and_spoken_about_again_later() -> None:
    world, site, source = world_with(20)
    peer = Fragile(world, site, source, poison())
    peer.channel.send(3, b"\xff" * 100)
    peer.wait(1)
    assert peer.closed is CloseReason.REMOTE
    assert peer.pair.connected
    (notified,) = site.events_of(BackedOff)
    assert notified.seconds == BAD_DATA_BACKOFF
    (misbehaved,) = site.events_of(PeerMisbehaved)
    assert not misbehaved.fatal
    assert site.replicator.attach(peer.pair.a, world.now) is None
    peer.wait(BAD_DATA_BACKOFF + 1)
    assert site.replicator.attach(peer.pair.a, world.now) is not None


def test_bad_data_with_several_cores_is_not_forgiven() -> None:
    suspicions = Suspicions()
    seconds = [suspicions.bad_data(PEER, bytes([core]) * 32, 0.0) for core in range(MAX_BAD_CORES)]
    assert seconds == [BAD_DATA_BACKOFF] * (MAX_BAD_CORES - 1) + [None]
    suspicions.disconnected(PEER)
    assert suspicions.bad_data(PEER, CORE, 0.0) == BAD_DATA_BACKOFF
    assert suspicions.bad_data(PEER, CORE, 0.0) == 2 * BAD_DATA_BACKOFF


def test_an_unknown_peer_is_cut_off_at_once() -> None:
    world, site, source = world_with(20)
    script = world.script(site)
    script.channel.send(3, b"\xff" * 100)
    script.turn()
    (error,) = script.pair.errors
    assert isinstance(error, RemoteProtocolError)
    assert source.key


# --- records


def answers(record_indices: Iterable[int], suspicions: Suspicions) -> None:
    record = suspicions.record(PEER, CORE)
    for index in record_indices:
        record.answered(index)


def test_trials_are_single_at_first_and_many_later() -> None:
    suspicions = Suspicions()
    assert suspicions.ended(PEER, CORE, range(100), 0.0) == []
    record = suspicions.record(PEER, CORE)
    assert record.window == 1
    answers(range(SINGLE_TRIALS), suspicions)
    assert record.window == 1
    answers(range(SINGLE_TRIALS, SINGLE_TRIALS + 3), suspicions)
    assert record.window == 8
    assert len(record.suspects) == 100 - SINGLE_TRIALS - 3


def test_nothing_but_the_trial_is_blamed() -> None:
    suspicions = Suspicions()
    suspicions.ended(PEER, CORE, [3, HEAD], 0.0)
    assert suspicions.may_test(PEER, CORE, lambda: None)
    woken: list[bool] = []
    assert not suspicions.may_test(PEER, OTHER, lambda: woken.append(True))
    record = suspicions.record(PEER, CORE)
    record.testing[3] = None
    # The others are told first, or afterwards
    assert suspicions.ended(PEER, OTHER, range(50), 1.0) == []
    ((index, seconds),) = suspicions.ended(PEER, CORE, [3, 9], 1.0)
    assert (index, seconds) == (3, BLOCK_BACKOFF)
    suspicions.tests_over(PEER, CORE)
    assert suspicions.ended(PEER, b"d" * 32, range(50), 1.0) == []
    assert woken
    assert suspicions.find(PEER, OTHER) is None
    assert 9 not in record.avoided
    assert HEAD in record.suspects


def test_back_offs_are_bounded() -> None:
    record = Suspicions().record(PEER, CORE)
    assert max(record.refuse(1, 0.0) for _ in range(100)) == MAX_BACKOFF


def test_the_end_of_a_connection_with_many_cores_does_not_visit_all_records_for_each() -> None:
    visits = 0

    class Records(dict[tuple[bytes, bytes], Record]):
        def values(self) -> ValuesView[Record]:
            nonlocal visits
            visits += 1
            return super().values()

    suspicions = Suspicions()
    suspicions._records = Records()
    for number in range(500):
        suspicions.ended(PEER, number.to_bytes(32, "big"), [1, 2], 0.0)
    assert visits == 0 and len(suspicions._records) == 500


@pytest.mark.slow
def test_what_is_remembered_is_bounded() -> None:
    suspicions = Suspicions()
    assert suspicions.ended(PEER, CORE, range(10 * MAX_SUSPECTS), 0.0) == []
    assert len(suspicions.record(PEER, CORE).avoided) == MAX_SUSPECTS
    for number in range(MAX_RECORDS + 10):
        suspicions.ended(number.to_bytes(32, "big"), CORE, [1], 0.0)
    assert MAX_RECORDS * 15 // 16 <= len(suspicions._records) <= MAX_RECORDS
    for blocks in (range(1), range(MAX_SUSPECTS)):  # small at first
        for number in range(300):
            suspicions.ended(number.to_bytes(32, "big"), OTHER, blocks, 0.0)
    assert sum(len(record.avoided) for record in suspicions._records.values()) <= MAX_ALL_SUSPECTS


@pytest.mark.slow
def test_peers_do_not_have_forgotten_what_a_publisher_refuses() -> None:
    suspicions = Suspicions()
    suspicions.ended(PEER, CORE, [5], 0.0, gave=True)
    for number in range(2 * MAX_RECORDS):
        suspicions.ended(number.to_bytes(32, "big"), CORE, [1], 0.0, gave=False)
    assert len(suspicions._records) <= MAX_RECORDS
    assert suspicions.find(PEER, CORE) is not None
    assert suspicions.find(bytes(32), CORE) is None


def test_no_more_than_so_many_are_doubted() -> None:
    world, site, source = world_with(1000)
    peer = Fragile(world, site, source, poison())
    peer.on_message = None
    peer.offer(*[(start, start + 1) for start in range(0, 1000, 2)])
    peer.wait(0.1)
    record = site.replicator.suspicions.find(PEER, source.key)
    assert record is not None
    assert len(record.doubted) == MAX_DOUBTED
    assert of(Request, peer.log)
