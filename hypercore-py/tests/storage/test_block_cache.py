"""The blocks that were served a moment ago: which are kept, and how many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hypercore.storage.block_cache import (
    MAX_RECENT_BLOCK_BYTES,
    RECENT_CACHE_BYTES,
    RECENT_OVERHEAD,
    RecentBlocks,
)


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_the_block_that_was_not_used_for_longest_is_forgotten_first() -> None:
    recent, block = RecentBlocks(), bytes(MAX_RECENT_BLOCK_BYTES)
    room = RECENT_CACHE_BYTES // (len(block) + RECENT_OVERHEAD)
    for number in range(room):
        recent.put(name(number), block)
    assert recent.get(name(0)) == block
    recent.put(name(room), block)
    assert recent.get(name(1)) is None
    assert [recent.get(name(number)) for number in (0, 2, room)] == [block] * 3


def test_a_block_that_would_push_out_all_others_is_not_kept() -> None:
    recent = RecentBlocks()
    recent.put(name(1), bytes(MAX_RECENT_BLOCK_BYTES + 1))
    assert recent.get(name(1)) is None
    assert recent.bytes == 0


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0, 1, 4096, MAX_RECENT_BLOCK_BYTES]))))
def test_what_is_kept_is_counted_and_stays_within_the_bound(puts: list[tuple[int, int]]) -> None:
    recent, sizes = RecentBlocks(), dict[int, int]()
    for number, size in puts:
        if recent.get(name(number)) is None:
            sizes[number] = size
        recent.put(name(number), bytes(size))
        assert recent.bytes <= RECENT_CACHE_BYTES
    kept = [block for number in range(41) if (block := recent.get(name(number))) is not None]
    assert recent.bytes == sum(map(len, kept)) + RECENT_OVERHEAD * len(kept)
    assert all(len(recent.get(name(n)) or b"") in (0, sizes[n]) for n in sizes)
