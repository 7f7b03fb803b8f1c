"""Who has to go when all connections together hold too much."""

from __future__ import annotations

from hypercore.aio.cores.holdings import Holdings


class Holder:
    def __init__(self, useful: int = 0) -> None:
        self.evicted = False
        self.useful = useful

    def poll(self) -> None:
        """Nothing changes by itself here."""

    def evict(self) -> None:
        self.evicted = True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_those_go_that_hold_much_for_long() -> None:
    clock = Clock()
    holdings = Holdings(1000, grace=1.0, clock=clock)
    honest, hoarders = Holder(), [Holder() for _ in range(12)]
    for hoarder in hoarders[:9]:
        holdings.record(hoarder, 90, 0)
    moved = 0
    for _ in range(20):
        clock.now += 0.5
        moved += 200
        holdings.record(honest, 180, moved)  # much, but it moves
        assert holdings.held <= 1000
    assert not honest.evicted
    for hoarder in hoarders[9:]:
        holdings.record(hoarder, 90, 0)
    assert holdings.held <= 1000
    assert not honest.evicted
    assert 0 < holdings.evicted < 9
    assert not any(hoarder.evicted for hoarder in hoarders[9:])


def test_a_large_block_on_a_slow_line_outlasts_hoarders_that_gave_nothing() -> None:
    clock = Clock()
    holdings = Holdings(1000, grace=0.0, clock=clock)
    honest = Holder(useful=20)
    hoarders = [Holder() for _ in range(15)]
    for second in range(15):
        clock.now += 1.0
        holdings.record(honest, 20 * second, 5000)  # a block that is coming, and nothing else
        holdings.record(hoarders[second], 150, 0)
        assert holdings.held <= 1000
    assert not honest.evicted
    assert holdings.evicted > 4


def test_no_peer_that_makes_progress_is_cut_off() -> None:
    clock = Clock()
    holdings = Holdings(1000, grace=1.0, clock=clock)
    fast = [Holder() for _ in range(20)]
    for step in range(10):
        clock.now += 0.1
        for holder in fast:
            holdings.record(holder, 100, 200 * step)
    assert holdings.full
    assert not holdings.evicted
    for holder in fast:
        holdings.record(holder, 0, 5000)
    assert holdings.held == 0
    assert not holdings.holders()


def test_what_a_closed_connection_held_is_free() -> None:
    holdings = Holdings(100, grace=0.0)
    holder = Holder()
    holdings.record(holder, 60, 0)
    holdings.leave(holder)
    holdings.leave(holder)
    assert holdings.held == 0
