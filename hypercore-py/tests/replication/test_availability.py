import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.bitfield import PAGE_BITS, PAGE_BYTES, PAGE_OVERHEAD, Bitfield
from hypercore.errors import RemoteProtocolError
from hypercore.replication.availability import Availability, first_common
from hypercore.replication.config import MAX_LACKING, MAX_REMOTE_PAGES, WANT_BATCH
from hypercore.replication.field_budget import FieldBudget

KNOWN = 2**53
"""Length of the core here: of such a core everything matters."""

LIMIT = 3 * PAGE_BITS


def field(runs: list[tuple[int, int]]) -> tuple[Bitfield, set[int]]:
    bits, model = Bitfield(), set()
    for start, length in runs:
        bits.set_range(start, start + length)
        model.update(range(start, start + length))
    return bits, model


RUNS = st.lists(st.tuples(st.integers(0, LIMIT), st.integers(1, 300)), max_size=12)


@settings(deadline=None)
@given(RUNS, RUNS, st.integers(0, LIMIT), st.integers(0, LIMIT), st.booleans())
def test_a_search_finds_the_first_common_bit(
    there: list[tuple[int, int]], other: list[tuple[int, int]], start: int, end: int, wanted: bool
) -> None:
    bits, model = field(there)
    mask, masked = field(other)
    found = first_common(bits, mask, start, end, wanted=wanted)
    expected = model & masked if wanted else model - masked
    assert found == min((index for index in expected if start <= index < end), default=None)


def test_a_search_through_alternating_bits_looks_at_each_page_once() -> None:
    """The worst case for two fields: they take turns for the whole length of the core."""
    length = 20 * PAGE_BITS
    there = Bitfield()
    there.load_words(0, b"\xaa" * (length // 8))
    visited: list[int] = []
    original = Bitfield.words

    class Counting(Bitfield):
        __slots__ = ()

        def words(self, start: int, end: int) -> bytes:
            visited.append(start)
            return original(self, start, end)

    counting = Counting()
    counting.load_words(0, b"\xaa" * (length // 8))
    assert first_common(there, counting, 0, length, wanted=False) is None
    assert len(visited) <= 20


def test_ranges_and_drops_mean_what_they_say() -> None:
    peer = Availability(FieldBudget())
    peer.on_range(0, 100, KNOWN, drop=False)
    assert peer.contiguous == 100
    peer.on_range(40, 10, KNOWN, drop=True)
    assert [peer.has(index) for index in (39, 40, 49, 50, 99, 100)] == [True, False, False, True, True, False]
    assert peer.contiguous == 40
    peer.on_range(40, 10, KNOWN, drop=False)
    assert peer.contiguous == 100


def test_a_bitfield_overwrites_what_was_known_of_its_span() -> None:
    peer = Availability(FieldBudget())
    peer.on_range(0, 100, KNOWN, drop=False)
    peer.on_bitfield(32, b"\x01\x00\x00\x80", KNOWN)
    assert [peer.has(index) for index in (31, 32, 33, 62, 63, 64, 99)] == [
        True,
        True,
        False,
        False,
        True,
        True,
        True,
    ]


def test_a_bitfield_that_does_not_begin_at_a_word_is_an_error() -> None:
    with pytest.raises(RemoteProtocolError):
        Availability(FieldBudget()).on_bitfield(8, bytes(4), 0)


def test_a_refused_block_counts_as_missing_until_it_is_announced_again() -> None:
    peer = Availability(FieldBudget())
    peer.on_range(0, 10, KNOWN, drop=False)
    assert peer.refused(3)
    assert not peer.has(3)
    assert peer.first_missing_from(Bitfield(), 3, 10) == 4
    peer.on_range(3, 1, KNOWN, drop=False)
    assert peer.has(3)
    peer.refused(3)
    peer.on_bitfield(0, b"\xff\xff\x00\x00", KNOWN)
    assert peer.has(3)


def test_refused_blocks_are_bounded() -> None:
    peer = Availability(FieldBudget())
    assert all(peer.refused(index) for index in range(MAX_LACKING))
    assert not peer.refused(MAX_LACKING)


def test_what_a_peer_can_make_us_remember_is_bounded() -> None:
    peer = Availability(FieldBudget())
    for page in range(2 * MAX_REMOTE_PAGES):
        peer.on_range(page * PAGE_BITS + 1, 1, KNOWN, drop=False)
    assert peer.blocks.count == MAX_REMOTE_PAGES
    peer.on_range(0, 2**53, KNOWN, drop=False)
    assert peer.has(2**52)
    peer.on_range(5, 1, KNOWN, drop=True)
    assert peer.has(6)
    assert peer.has(2**52)
    assert peer.blocks.held_bytes < 5000


def test_of_a_short_core_little_is_remembered() -> None:
    """A peer may claim any length: what lies far behind ours cannot be asked for."""
    peer = Availability(FieldBudget())
    for page in range(2 * MAX_REMOTE_PAGES):
        peer.on_range(page * PAGE_BITS + PAGE_BITS - 1, 1, 1, drop=False)
    assert peer.blocks.held_bytes <= 2 * WANT_BATCH // 8 + 128 * PAGE_OVERHEAD
    assert peer.has(PAGE_BITS - 1)
    peer.on_range(0, 2**40, 1, drop=False)
    assert peer.has(2**40 - 1)


def test_all_peers_together_are_bounded_and_the_largest_makes_room() -> None:
    budget = FieldBudget(limit=400_000)
    modest, greedy, others = (Availability(budget) for _ in range(3)), Availability(budget), []
    few = list(modest)
    for peer in few:
        peer.on_range(7, 3, KNOWN, drop=False)
    for page in range(200):
        greedy.on_range(page * PAGE_BITS + PAGE_BITS - 1, 1, KNOWN, drop=False)
        assert budget.held <= budget.limit
    assert greedy.discarded
    assert budget.discarded < 5
    assert all(peer.has(8) and not peer.discarded for peer in few)
    for _ in range(200):
        others.append(Availability(budget))
        others[-1].on_range(PAGE_BITS - 1, 1, KNOWN, drop=False)
        assert budget.held <= budget.limit
    assert sum(peer.blocks.held_bytes for peer in (*few, greedy, *others)) == budget.held
    for peer in (*few, greedy, *others):
        peer.close()
    assert budget.held == 0


@pytest.mark.slow
def test_a_storm_of_ranges_costs_microseconds() -> None:
    """255 KB of them took 25 s while pages of ones were made one by one."""
    peer = Availability(FieldBudget())
    started = time.process_time()
    for _ in range(15_000):
        peer.on_range(0, 2**53 - 2, 1_000_000, drop=False)
        peer.on_range(1, 1, 1_000_000, drop=True)
    assert time.process_time() - started < 2
    assert not peer.has(1)
    assert peer.has(2**52)


def test_a_search_through_the_worst_of_fields_takes_milliseconds() -> None:
    there, claimed = Bitfield(max_pages=MAX_REMOTE_PAGES), Bitfield()
    end = 4 * MAX_REMOTE_PAGES * PAGE_BITS
    for page in range(0, 2 * MAX_REMOTE_PAGES, 2):
        there.load_words(page * PAGE_BITS, b"\xaa" * PAGE_BYTES)
        claimed.load_words(page * PAGE_BITS, b"\xaa" * PAGE_BYTES)
        there.set_range((page + 1) * PAGE_BITS, (page + 2) * PAGE_BITS)
        claimed.set_range((page + 1) * PAGE_BITS, (page + 2) * PAGE_BITS)
    started = time.process_time()
    assert first_common(there, claimed, 0, end, wanted=False) is None
    assert time.process_time() - started < 0.2
