"""What a peer has, as far as it told us.

Official receivers keep a watermark (from `range` messages that start at 0) beside a bitfield, and lower the
watermark to the start of whatever is dropped or overwritten below it, forgetting what it covered. A
`Bitfield` with its prefix is as small and forgets nothing, so here every message means exactly what it says.
Senders must reckon with the former, see `Announcer.dropped`.
"""

from __future__ import annotations

from ..bitfield import PAGE_BITS, Bitfield
from ..errors import RemoteProtocolError
from .config import MAX_LACKING, MAX_REMOTE_PAGES

_PROBES = 8
"""Alternating steps that a search takes before it compares whole pages."""

_NONE: frozenset[int] = frozenset()
"""One for all: most peers give what they announce, and an empty set of each would take some room."""


class Availability:
    """The blocks of one peer. Bounded: MAX_REMOTE_PAGES, MAX_LACKING."""

    __slots__ = ("_lacking", "blocks")

    def __init__(self) -> None:
        self.blocks = Bitfield(max_pages=MAX_REMOTE_PAGES)
        self._lacking: frozenset[int] = _NONE

    @property
    def contiguous(self) -> int:
        """Leading blocks that it has."""
        return self.blocks.contiguous

    def has(self, index: int) -> bool:
        return self.blocks.get(index) and index not in self._lacking

    def covers(self, start: int, end: int) -> bool:
        """Whether it has all of start..end."""
        return self.blocks.first_unset(start, end) is None

    def on_range(self, start: int, length: int, *, drop: bool) -> None:
        end = start + length
        self.blocks.set_range(start, end, not drop)
        if self._lacking:
            self._lacking = frozenset(index for index in self._lacking if not start <= index < end) or _NONE

    def on_bitfield(self, start: int, words: bytes) -> None:
        """Raises RemoteProtocolError for a field that does not begin at a word."""
        if start % 32:
            raise RemoteProtocolError(f"a bitfield starts at bit {start}, which is not a multiple of 32")
        self.blocks.load_words(start, words)
        if self._lacking:
            end = start + 8 * len(words)
            self._lacking = frozenset(index for index in self._lacking if not start <= index < end) or _NONE

    def refused(self, index: int) -> bool:
        """It announced the block and did not give it. False if that was once too often."""
        self._lacking |= {index}
        return len(self._lacking) <= MAX_LACKING

    def forgive(self) -> None:
        """Forget what it refused: it may have been for a passing reason."""
        self._lacking = _NONE

    def first_missing_from(self, claimed: Bitfield, start: int, end: int) -> int | None:
        """The first block of start..end that it has and that is not in `claimed`."""
        return self._search(claimed, start, end, wanted=False)

    def first_in(self, wanted: Bitfield, start: int, end: int) -> int | None:
        """The first block of start..end that it has and that is in `wanted`."""
        return self._search(wanted, start, end, wanted=True)

    def _search(self, other: Bitfield, start: int, end: int, *, wanted: bool) -> int | None:
        at: int | None = start
        while at is not None:
            at = first_common(self.blocks, other, at, end, wanted=wanted)
            if at is None or at not in self._lacking:
                return at
            at += 1
        return None


def first_common(there: Bitfield, other: Bitfield, start: int, end: int, *, wanted: bool) -> int | None:
    """The first bit of start..end set in `there`, and set (`wanted`) or unset (not) in `other`.

    Costs no more than a few microseconds a page, however the two fields alternate.
    """
    find = other.first_set if wanted else other.first_unset
    at = start
    for _ in range(_PROBES):
        found = find(at, end)
        if found is None or there.get(found):
            return found
        found = there.first_set(found, end)
        if found is None:
            return None
        at = found
    while at < end:
        found = there.first_set(at, end)
        if found is None:
            return None
        page = found - found % PAGE_BITS
        both = int.from_bytes(there.words(page, page + PAGE_BITS), "little")
        mask = int.from_bytes(other.words(page, page + PAGE_BITS), "little")
        both = (both & mask if wanted else both & ~mask) >> (found - page)
        if both:
            found += (both & -both).bit_length() - 1
            return found if found < end else None
        at = page + PAGE_BITS
    return None
