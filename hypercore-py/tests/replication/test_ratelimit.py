"""Bounds on the bytes that move: the bucket alone, and replication under it."""

from __future__ import annotations

import pytest

from hypercore.replication import RateLimit
from hypercore.replication.ratelimit import BLOCK_OVERHEAD, BURST, MIN_TURN_BYTES, Waiter
from support.replication_world import Site, World

RATE = 100_000.0


class Mover:
    """A peer that always has more to move, in pieces of one size."""

    def __init__(self, limit: RateLimit, size: int) -> None:
        self.limit = limit
        self.size = size
        self.moved = 0
        self.called = True

    def resume(self) -> None:
        self.called = True

    def work(self, now: float) -> None:
        left = self.limit.take_turn(self.resume, now)
        if not left:
            return
        while left > 0:
            self.limit.consume(self.size)
            self.moved += self.size
            left -= self.size
        self.limit.wait(self.resume, now)


def run(limit: RateLimit, movers: list[Mover], start: float, end: float) -> None:
    """Time passes from deadline to deadline."""
    now = start
    while now < end:
        for mover in movers:
            if mover.called:
                mover.called = False
                mover.work(now)
        deadline = limit.next_deadline()
        if deadline is None:
            return
        now = max(now, deadline)
        limit.handle_timer(now)


@pytest.mark.parametrize("size", [100, 4_096, 65_536])
def test_the_average_is_the_rate_however_large_the_blocks(size: int) -> None:
    limit = RateLimit()
    limit.set_rate(RATE, 0.0)
    mover = Mover(limit, size)
    run(limit, [mover], 0.0, 60.0)
    assert mover.moved == pytest.approx(60 * RATE, rel=0.02)


def test_peers_that_wait_move_the_same_number_of_bytes() -> None:
    limit = RateLimit()
    limit.set_rate(RATE, 0.0)
    movers = [Mover(limit, size) for size in (500, 4_096, 16_384, 500)]
    run(limit, movers, 0.0, 60.0)
    assert sum(mover.moved for mover in movers) == pytest.approx(60 * RATE, rel=0.02)
    for mover in movers:
        assert mover.moved == pytest.approx(15 * RATE, rel=0.1)


def test_a_waiter_that_comes_late_waits_for_one_round_and_no_longer() -> None:
    limit = RateLimit()
    limit.set_rate(RATE, 0.0)
    early = [Mover(limit, 16_384) for _ in range(3)]
    run(limit, early, 0.0, 5.0)
    late = Mover(limit, 1_000)
    run(limit, [*early, late], 5.0, 5.0 + 4 * 2 * MIN_TURN_BYTES / RATE)
    assert late.moved >= MIN_TURN_BYTES


def test_silence_saves_up_a_burst_and_no_more() -> None:
    limit = RateLimit()
    limit.set_rate(RATE, 0.0)
    mover = Mover(limit, 1_000)
    run(limit, [mover], 3600.0, 3601.0)
    assert mover.moved <= RATE * (1 + BURST) + 2 * MIN_TURN_BYTES


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    limit = RateLimit()
    limit.set_rate(RATE, 100.0)
    limit.consume(1)
    assert limit.take_turn(lambda: None, 100.0) == 0
    assert limit.take_turn(lambda: None, 50.0) == 0


def test_nothing_waits_once_the_rate_is_lifted_and_debts_are_cancelled() -> None:
    limit = RateLimit()
    limit.set_rate(1_000.0, 0.0)
    mover = Mover(limit, 1_000_000)
    limit.set_rate(1_000.0, 1.0)
    mover.work(1.0)
    mover.work(1.1)
    mover.called = False
    limit.set_rate(None, 2.0)
    assert mover.called
    assert not limit.active
    limit.set_rate(RATE, 3.0)
    assert limit.take_turn(mover.resume, 3.1) > 0


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_is_above_zero(rate: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        RateLimit().set_rate(rate, 0.0)


def test_a_waiter_that_has_gone_gets_no_turn() -> None:
    limit = RateLimit()
    limit.set_rate(RATE, 0.0)
    limit.consume(10_000)
    gone, stays = Mover(limit, 1), Mover(limit, 1)
    gone.called = stays.called = False
    limit.take_turn(gone.resume, 0.0)
    limit.take_turn(stays.resume, 0.0)
    limit.remove_waiter(gone.resume)
    limit.handle_timer(1.0)
    assert (gone.called, stays.called) == (False, True)


def test_a_budget_is_never_exceeded_and_room_wakes_what_waited_for_it() -> None:
    limit = RateLimit()
    limit.set_budget(25_000)
    called: list[None] = []

    def resume() -> None:
        called.append(None)

    turn = Waiter(limit, resume, 10_000, 0.0)
    asked = 0
    while turn.may_ask():
        limit.reserve(10_000)
        asked += 1
    assert asked == 2
    assert limit.lacking == 10_000
    limit.set_budget(9_999)
    assert called == []
    limit.set_budget(10_000)
    assert called == [None]
    assert limit.lacking == 0


# --- replication under it -----------------------------------------------------------------------------------


def limited(blocks: int, size: int) -> tuple[World, Site]:
    world = World()
    return world, world.writer(blocks=[bytes([index % 256]) * size for index in range(blocks)])


def test_an_upload_is_as_fast_as_it_may_be_and_every_reader_gets_its_share() -> None:
    world, writer = limited(2_000, 1_000)
    writer.replicator.upload.set_rate(RATE, world.now)
    world.timed.append(writer.replicator.upload)
    readers = [world.reader(writer.core.key) for _ in range(4)]
    for reader in readers:
        world.connect(reader, writer, latency=0.02)
    world.run_until_idle(10.0)
    counts = [reader.core.bitfield.count for reader in readers]
    assert writer.replicator.upload.moved == pytest.approx(10 * RATE, rel=0.03)
    assert sum(counts) * 1_000 > 0.6 * 10 * RATE  # the rest are proofs
    assert min(counts) > 0.8 * max(counts)


def test_a_limited_upload_reports_news_at_once() -> None:
    world, writer = limited(100, 10_000)
    writer.replicator.upload.set_rate(2_000.0, world.now)
    world.timed.append(writer.replicator.upload)
    reader = world.reader(writer.core.key)
    world.connect(reader, writer, latency=0.01)
    assert world.run(until=lambda: reader.core.bitfield.count >= 2, seconds=60)
    writer.append(b"news")
    at = world.now
    assert world.run(
        until=lambda: any(peer.remote_length == 101 for peer in reader.replicator.peers), seconds=60
    )
    assert world.now - at < 1.0


def test_a_download_asks_no_faster_than_it_may_and_gets_all_of_it() -> None:
    world, writer = limited(600, 1_000)
    reader = world.reader(writer.core.key)
    limit = reader.replicator.download
    limit.set_rate(RATE, world.now)
    world.timed.append(limit)
    for _ in range(2):
        source = world.reader(writer.core.key, source=writer.core, have=range(600))
        world.connect(reader, source, latency=0.05)
    start = world.now
    assert world.run(until=lambda: reader.complete, seconds=60)
    assert 600 * (1_000 + BLOCK_OVERHEAD) / (world.now - start) == pytest.approx(RATE, rel=0.15)
    assert limit.reserved == 0
    # Nothing was asked for twice, nothing was thrown away
    assert limit.moved == 600 * (1_000 + BLOCK_OVERHEAD)


def test_a_download_ends_where_the_budget_does_and_goes_on_with_more() -> None:
    world, writer = limited(300, 1_000)
    reader = world.reader(writer.core.key)
    limit = reader.replicator.download
    limit.set_budget(120 * (1_000 + BLOCK_OVERHEAD) + 500)
    world.connect(reader, writer, latency=0.01)
    world.run_until_idle(5.0)
    assert reader.core.bitfield.count == 120
    assert reader.core.length == 300
    assert limit.lacking == 1_000 + BLOCK_OVERHEAD
    writer.append(b"x" * 1_000)
    world.run_until_idle(5.0)
    assert reader.core.length == 301, "the head is followed all the same"
    limit.set_budget(None)
    assert world.run(until=lambda: reader.complete, seconds=20)


def test_a_reader_that_waits_for_one_block_keeps_to_the_rate_too() -> None:
    world, writer = limited(50, 10_000)
    reader = world.reader(writer.core.key)
    limit = reader.replicator.download
    limit.set_rate(10_000.0, world.now)
    world.timed.append(limit)
    world.connect(reader, writer, latency=0.01)
    assert world.run(until=lambda: reader.core.length == 50, seconds=20)
    reader.replicator.request_block(40, world.now)
    assert world.run(until=lambda: reader.core.has(40), seconds=10)
    assert reader.core.bitfield.count < 10
