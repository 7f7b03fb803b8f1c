import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.bitfield import PAGE_BITS, Bitfield
from hypercore.errors import RemoteProtocolError
from hypercore.replication.availability import Availability, first_common
from hypercore.replication.config import MAX_LACKING, MAX_REMOTE_PAGES

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
    looked: list[int] = []
    original = Bitfield.words

    class Counting(Bitfield):
        __slots__ = ()

        def words(self, start: int, end: int) -> bytes:
            looked.append(start)
            return original(self, start, end)

    counting = Counting()
    counting.load_words(0, b"\xaa" * (length // 8))
    assert first_common(there, counting, 0, length, wanted=False) is None
    assert len(looked) <= 20


def test_ranges_and_drops_mean_what_they_say() -> None:
    peer = Availability()
    peer.on_range(0, 100, drop=False)
    assert peer.contiguous == 100
    peer.on_range(40, 10, drop=True)
    assert [peer.has(index) for index in (39, 40, 49, 50, 99, 100)] == [True, False, False, True, True, False]
    assert peer.contiguous == 40
    peer.on_range(40, 10, drop=False)
    assert peer.contiguous == 100


def test_a_bitfield_overwrites_what_was_known_of_its_span() -> None:
    peer = Availability()
    peer.on_range(0, 100, drop=False)
    peer.on_bitfield(32, b"\x01\x00\x00\x80")
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
        Availability().on_bitfield(8, bytes(4))


def test_a_refused_block_counts_as_missing_until_it_is_announced_again() -> None:
    peer = Availability()
    peer.on_range(0, 10, drop=False)
    assert peer.refused(3)
    assert not peer.has(3)
    assert peer.first_missing_from(Bitfield(), 3, 10) == 4
    peer.on_range(3, 1, drop=False)
    assert peer.has(3)
    peer.refused(3)
    peer.on_bitfield(0, b"\xff\xff\x00\x00")
    assert peer.has(3)


def test_refused_blocks_are_bounded() -> None:
    peer = Availability()
    assert all(peer.refused(index) for index in range(MAX_LACKING))
    assert not peer.refused(MAX_LACKING)


def test_what_a_peer_can_make_us_remember_is_bounded() -> None:
    peer = Availability()
    for page in range(2 * MAX_REMOTE_PAGES):
        peer.on_range(page * PAGE_BITS + 1, 1, drop=False)
    assert peer.blocks.count == MAX_REMOTE_PAGES
    peer.on_range(0, 2**53, drop=False)
    assert peer.has(2**52)
    peer.on_range(5, 1, drop=True)  # that does not make a page of every 32768 bits
    assert peer.has(6)
    assert not peer.has(2**52)
    peer.on_range(7, 2**53, drop=False)
    assert peer.blocks.count <= (MAX_REMOTE_PAGES + 1) * PAGE_BITS
