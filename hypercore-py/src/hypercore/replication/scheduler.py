"""Chooses the next block to request.

Blocks are fetched from the front: leading runs grow, proofs need fewer nodes, the disk writes in order. A
bitfield of *claimed* blocks (stored or requested) has its leading run as a number, so that the next block of
a complete peer is found at once, however long the core is; for a peer with gaps, whole pages are compared.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..bitfield import Bitfield
from .availability import Availability

Ranges = tuple[tuple[int, int | None], ...]

EVERYTHING: Ranges = ((0, None),)


class Scheduler:
    def __init__(self, have: Bitfield) -> None:
        self._have = have
        """The core's own bitfield, which the core changes."""
        self._claimed: Bitfield | None = None
        self._ranges: Ranges = EVERYTHING
        self._explicit: dict[int, None] = {}  # an empty set would take four times the memory
        self._pending = Bitfield()
        """Explicit blocks that are not requested yet."""

    # --- what to fetch --------------------------------------------------------------------------------------

    @property
    def ranges(self) -> Ranges:
        """Blocks to download, as (start, end) in order; an end of None is open."""
        return self._ranges

    @ranges.setter
    def ranges(self, ranges: Iterable[tuple[int, int | None]]) -> None:
        self._ranges = merge_ranges(ranges)

    @property
    def open_ended(self) -> bool:
        """Whether blocks that do not exist yet are fetched as well."""
        return bool(self._ranges) and self._ranges[-1][1] is None

    @property
    def wants_everything(self) -> bool:
        return self._ranges == EVERYTHING

    @property
    def explicit(self) -> frozenset[int]:
        return frozenset(self._explicit)

    @property
    def has_explicit(self) -> bool:
        return bool(self._explicit)

    @property
    def has_pending(self) -> bool:
        """Whether explicit blocks are not requested yet."""
        return self._pending.count > 0

    def is_explicit(self, index: int) -> bool:
        return index in self._explicit

    def add_explicit(self, index: int) -> None:
        self._explicit[index] = None
        if not self.is_claimed(index):
            self._pending.set(index)

    def remove_explicit(self, index: int) -> None:
        self._explicit.pop(index, None)
        self._pending.unset(index)

    def in_ranges(self, index: int) -> bool:
        return any(start <= index and (end is None or index < end) for start, end in self._ranges)

    def missing(self, end: int) -> Iterable[tuple[int, int]]:
        """The parts of the ranges below `end` in which blocks are missing, from the first such block on."""
        for start, stop in self._ranges:
            stop = end if stop is None else min(stop, end)
            first = self._have.first_unset(start, stop) if start < stop else None
            if first is not None:
                yield first, stop

    def next_pending(self, start: int, end: int) -> int | None:
        """The first explicit block of start..end that is not requested yet."""
        return self._pending.first_set(start, end) if self._pending.count else None

    # --- requested blocks -----------------------------------------------------------------------------------

    @property
    def claimed(self) -> Bitfield:
        if self._claimed is None:
            self._claimed = self._have.copy()
        return self._claimed

    def is_claimed(self, index: int) -> bool:
        return self.claimed.get(index)

    def claim(self, index: int) -> None:
        """The block was requested."""
        self.claimed.set(index)
        if self._pending.count:
            self._pending.unset(index)

    def release(self, index: int) -> None:
        """No request for the block is in flight any more."""
        if self._have.get(index):
            return
        self.claimed.unset(index)
        if index in self._explicit:
            self._pending.set(index)

    def arrived(self, index: int) -> bool:
        """The block is stored. True if a reader waited for it."""
        if self._claimed is not None:
            self._claimed.set(index)
        if index in self._explicit:
            self.remove_explicit(index)
            return True
        return False

    def lost(self, start: int, end: int | None) -> None:
        """Blocks were lost. None of them is requested."""
        if self._claimed is not None:
            self._claimed.set_range(start, end, False)

    # --- choosing -------------------------------------------------------------------------------------------

    def next_explicit(self, there: Availability, end: int) -> int | None:
        """An explicit block below `end` that is not requested yet and that `there` has."""
        return there.first_in(self._pending, 0, end) if self._pending.count else None

    def next_block(self, there: Availability, cursor: int, end: int) -> int | None:
        """The first block to download at or after `cursor` and below `end` that `there` has."""
        claimed = self.claimed
        for start, stop in self._ranges:
            stop = end if stop is None else min(stop, end)
            at: int | None = max(start, cursor)
            while at is not None and at < stop:
                at = there.first_missing_from(claimed, at, stop)
                if at is None:
                    break
                if not self._have.get(at):
                    return at
                claimed.set(at)  # it was stored without a request, for example by an append
        return None


def merge_ranges(ranges: Iterable[tuple[int, int | None]]) -> Ranges:
    """The ranges in order, merged, without empty ones."""
    merged: list[tuple[int, int | None]] = []
    for start, end in sorted(ranges, key=lambda r: r[0]):
        if end is not None and end <= start:
            continue
        if merged:
            last, stop = merged[-1]
            if stop is None:
                break
            if start <= stop:
                merged[-1] = (last, None if end is None else max(stop, end))
                continue
        merged.append((start, end))
    return tuple(merged)
