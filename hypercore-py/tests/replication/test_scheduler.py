from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.bitfield import Bitfield
from hypercore.replication.availability import Availability
from hypercore.replication.field_budget import FieldBudget
from hypercore.replication.scheduler import EVERYTHING, Scheduler, merge_ranges


def availability(*runs: tuple[int, int]) -> Availability:
    peer = Availability(FieldBudget())
    for start, end in runs:
        peer.on_range(start, end - start, end, drop=False)
    return peer


def take(scheduler: Scheduler, peer: Availability, end: int, count: int = 1000) -> list[int]:
    """What a peer would be asked for."""
    asked: list[int] = []
    while len(asked) < count and (index := scheduler.next_block(peer, 0, end)) is not None:
        scheduler.claim(index)
        asked.append(index)
    return asked


def test_blocks_come_in_order_and_once() -> None:
    have = Bitfield()
    have.set_range(3, 5)
    scheduler = Scheduler(have)
    peer = availability((0, 10))
    assert take(scheduler, peer, 8) == [0, 1, 2, 5, 6, 7]
    assert take(scheduler, peer, 10) == [8, 9]


def test_a_peer_is_asked_only_for_what_it_has() -> None:
    scheduler = Scheduler(Bitfield())
    assert take(scheduler, availability((2, 4), (7, 9)), 100) == [2, 3, 7, 8]
    assert take(scheduler, availability((0, 100)), 10) == [0, 1, 4, 5, 6, 9]


def test_what_is_released_is_asked_for_again() -> None:
    scheduler = Scheduler(Bitfield())
    peer = availability((0, 10))
    take(scheduler, peer, 10)
    scheduler.release(4)
    assert take(scheduler, peer, 10) == [4]


def test_a_block_that_is_here_is_not_released() -> None:
    have = Bitfield()
    scheduler = Scheduler(have)
    scheduler.claim(0)
    have.set(0)
    scheduler.release(0)
    assert take(scheduler, availability((0, 2)), 2) == [1]


def test_lost_blocks_are_missing_again() -> None:
    have = Bitfield()
    have.set_range(0, 10)
    scheduler = Scheduler(have)
    assert take(scheduler, availability((0, 10)), 10) == []
    have.set_range(3, 5, False)
    scheduler.lost(3, 5)
    assert take(scheduler, availability((0, 10)), 10) == [3, 4]


def test_blocks_that_came_by_another_way_are_passed_over() -> None:
    have = Bitfield()
    scheduler = Scheduler(have)
    assert scheduler.next_block(availability((0, 9)), 0, 9) == 0
    have.set_range(0, 7)
    assert take(scheduler, availability((0, 9)), 9) == [7, 8]


def test_only_the_ranges_are_downloaded() -> None:
    scheduler = Scheduler(Bitfield())
    scheduler.ranges = [(8, 10), (2, 4), (3, 5)]
    assert scheduler.ranges == ((2, 5), (8, 10))
    assert not scheduler.open_ended
    assert take(scheduler, availability((0, 100)), 50) == [2, 3, 4, 8, 9]
    assert scheduler.in_ranges(4)
    assert not scheduler.in_ranges(5)
    scheduler.ranges = []
    assert take(scheduler, availability((0, 100)), 50) == []


def test_explicit_blocks_wait_until_a_peer_has_them() -> None:
    scheduler = Scheduler(Bitfield())
    scheduler.add_explicit(7)
    scheduler.add_explicit(3)
    peer = availability((0, 5))
    assert scheduler.next_explicit(peer, 100) == 3
    scheduler.claim(3)
    assert scheduler.next_explicit(peer, 100) is None
    assert scheduler.next_pending(0, 100) == 7
    scheduler.release(3)
    assert scheduler.next_explicit(peer, 100) == 3
    assert scheduler.arrived(3)
    assert not scheduler.arrived(4)
    assert scheduler.explicit == {7}
    scheduler.remove_explicit(7)
    assert not scheduler.has_explicit
    assert not scheduler.has_pending


def test_an_explicit_block_on_its_way_is_not_pending() -> None:
    scheduler = Scheduler(Bitfield())
    scheduler.claim(5)
    scheduler.add_explicit(5)
    assert scheduler.has_explicit
    assert not scheduler.has_pending


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.none() | st.integers(0, 40)), max_size=8))
def test_merged_ranges_cover_the_same_blocks(ranges: list[tuple[int, int | None]]) -> None:
    merged = merge_ranges(ranges)

    def covers(some: object, index: int) -> bool:
        return any(start <= index and (end is None or index < end) for start, end in some)

    for index in range(60):
        assert covers(merged, index) == covers(ranges, index)
    for (_, end), (start, _) in pairwise(merged):
        assert end is not None
        assert end < start
    assert merge_ranges([(0, None), (5, 7)]) == EVERYTHING


def test_a_core_of_a_million_blocks_is_scheduled_without_looking_at_all_of_them() -> None:
    """Every block costs one look at the end of the leading run, however long that is."""
    length = 10**6
    scheduler = Scheduler(Bitfield())
    visits: list[int] = []

    class Counting(Bitfield):
        __slots__ = ()

        def first_unset(self, start: int = 0, end: int | None = None) -> int | None:
            found = super().first_unset(start, end)
            visits.append(0 if found is None else found - max(start, self.contiguous))
            return found

    scheduler._claimed = Counting()
    peer = availability((0, length))
    for expected in range(0, 3000):
        assert scheduler.next_block(peer, 0, length) == expected
        scheduler.claim(expected)
    assert len(visits) == 3000
    assert sum(visits) == 0
