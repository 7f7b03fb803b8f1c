"""The blocks that a peer announced.

Official receivers keep a watermark (from `range` messages that start at 0) beside a bitfield. When blocks
below the watermark are dropped, they lower it to the start of these and lose what it covered behind them. A
`Bitfield` with its prefix is as small and loses nothing, so here every message means exactly what it
contains. Senders must expect official receivers, see `BlockAnnouncer.dropped`.
"""

from __future__ import annotations

from itertools import count

from ..bitfield import PAGE_BITS, Bitfield
from ..errors import RemoteProtocolError
from ..ranges import RangeSet
from .config import MAX_LACKING, MAX_REMOTE_PAGES, WANT_BATCH
from .field_budget import FieldBudget
from .suspicion import NOTHING_AVOIDED

_PROBES = 8
"""Alternating steps that a search takes before it compares whole pages."""

_NONE = RangeSet()
"""One shared empty set: most peers refuse nothing, and a set for each would take memory."""


class Availability:
    """The blocks of one peer. Bounded: MAX_REMOTE_PAGES, MAX_LACKING, and the budget over all of them.

    Blocks of the core and of the region behind its end are tracked exactly. Beyond `extent`, the end of that
    region, only whole pages are.
    """

    __slots__ = ("_budget", "_lacking", "avoided", "blocks", "discarded")

    def __init__(self, budget: FieldBudget) -> None:
        self.blocks = Bitfield(max_pages=MAX_REMOTE_PAGES)
        self.discarded = False
        """Whether some of its announcements were dropped to save memory."""
        self._budget = budget
        self._lacking = _NONE
        self.avoided = NOTHING_AVOIDED
        """Blocks that are not requested from it, though it announces them: see `suspicion.py`."""

    @property
    def contiguous(self) -> int:
        """Leading blocks that it has."""
        return self.blocks.contiguous

    def has(self, index: int) -> bool:
        return self.blocks.get(index) and index not in self._lacking and index not in self.avoided

    def announces(self, index: int) -> bool:
        """Whether it announced the block and did not refuse it."""
        return self.blocks.get(index) and index not in self._lacking

    def may_lack_proof(self, index: int, end: int) -> bool:
        """Whether the peer may have block `index` without the tree nodes that prove it.

        When an official writer clears blocks from an odd number on, nodes left of them that are still needed
        are deleted as well: one level of the tree for each binary 1 at the end of the number (hypercore
        lib/session-state.js `clear`). It ends the connection at a request for such a block. Only runs of up
        to 63 blocks before a gap are examined.
        """
        blocks = self.blocks
        if blocks.contiguous >= end:
            return False
        hole = blocks.first_unset(index + 1, min(end, index + 64))
        if hole is None or not hole & 1:
            return False
        ones = (hole ^ (hole + 1)).bit_length() - 1
        return index > hole - (1 << ones)

    def covers(self, start: int, end: int) -> bool:
        """Whether it has all of start..end."""
        return self.blocks.first_unset(start, end) is None

    def discard(self) -> None:
        """Drop the announced blocks, to free memory."""
        self.blocks.discard_pages()
        self.discarded = True

    def close(self) -> None:
        """The peer is closed: release its share of the budget."""
        self._budget.record(self, 0)

    def on_range(self, start: int, length: int, known: int, *, drop: bool) -> None:
        """The peer has start..start + length, or with `drop` has them no longer; `known` is the length of the
        core here."""
        end = start + length
        self.blocks.extent = _extent(known)
        self.blocks.set_range(start, end, not drop)
        self._budget.record(self, self.blocks.held_bytes)
        if self._lacking:
            self._lacking.remove(start, end)

    def on_bitfield(self, start: int, words: bytes, known: int) -> None:
        """A bitfield message. Raises RemoteProtocolError if it does not begin at a whole word."""
        if start % 32:
            raise RemoteProtocolError(f"a bitfield starts at bit {start}, which is not a multiple of 32")
        self.blocks.extent = _extent(known)
        self.blocks.load_words(start, words)
        self._budget.record(self, self.blocks.held_bytes)
        if self._lacking:
            self._lacking.remove(start, start + 8 * len(words))

    def refused(self, index: int) -> bool:
        """It announced the block and refused it. False if it refused more than MAX_LACKING."""
        if self._lacking is _NONE:
            self._lacking = RangeSet()
        self._lacking.add(index, index + 1)
        return self._lacking.count <= MAX_LACKING

    def clear_refusals(self) -> None:
        """Delete its refusals, so that these blocks are requested again."""
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
            if at is None or (at not in self._lacking and at not in self.avoided):
                return at
            at += 1
        return None


def _extent(known: int) -> int:
    """The end of the region behind the one with block `known`. Later blocks are not subscribed to."""
    return (known // WANT_BATCH + 2) * WANT_BATCH


def first_common(there: Bitfield, other: Bitfield, start: int, end: int, *, wanted: bool) -> int | None:
    """The first bit of start..end set in `there`, and set (`wanted`) or unset (not) in `other`.

    Costs a few microseconds for each mixed page of `there` and each stretch of ones, however long these are
    and however the two fields alternate.
    """
    find = other.first_set if wanted else other.first_unset
    at = start
    for step in count():
        found = find(at, end)
        if found is None or there.get(found):
            return found
        found = there.first_set(found, end)
        if found is None:
            return None
        at = found
        if step < _PROBES:
            continue
        page = found - found % PAGE_BITS
        both = int.from_bytes(there.words(page, page + PAGE_BITS), "little")
        mask = int.from_bytes(other.words(page, page + PAGE_BITS), "little")
        both = (both & mask if wanted else both & ~mask) >> (found - page)
        if both:
            found += (both & -both).bit_length() - 1
            return found if found < end else None
        at = page + PAGE_BITS
        if at >= end:
            return None
    return None
