"""Subscriptions to announcements of blocks. Rules: hypercore lib/wants.js (11.37.1).

Since hypercore 11.10 new blocks are announced only to peers that subscribed to their region, with the
exceptions in `BlockAnnouncer`. A peer subscribes region by region, each a power of two long and aligned to
it.
"""

from __future__ import annotations

from ..bitfield import Bitfield
from ..wire.control import Want
from .config import (
    MAX_LOCAL_WANTS,
    MAX_REMOTE_ANY_WANTS,
    MAX_REMOTE_WANT_SIZES,
    MAX_REMOTE_WANTS,
    MIN_WANT_BATCH,
    WANT_BATCH,
)

_NONE: frozenset[int] = frozenset()
"""One shared empty set: a set for each peer would take memory."""


class RemoteWants:
    """A peer's subscriptions. A peer with too many or odd ones gets all announcements."""

    __slots__ = ("_any", "_sizes", "everything")

    def __init__(self) -> None:
        self.everything = False
        self._sizes: dict[int, set[int]] = {}
        """Region length -> numbers of the subscribed regions."""
        self._any: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return sum(map(len, self._sizes.values())) + len(self._any)

    def add(self, want: Want) -> bool:
        """Add a subscription. False if it is ignored, being too large."""
        start, length = want.start, want.length
        if want.any_:
            if (start, start + length) not in self._any:
                if len(self._any) >= MAX_REMOTE_ANY_WANTS:
                    self.everything = True
                else:
                    self._any.append((start, start + length))
            return True
        if length > WANT_BATCH:
            return False
        numbers = self._sizes.get(length)
        if numbers is not None and start // length in numbers and start % length == 0:
            return True
        if not _is_region(start, length) or len(self) >= MAX_REMOTE_WANTS:
            self.everything = True
        elif numbers is not None:
            numbers.add(start // length)
        elif len(self._sizes) >= MAX_REMOTE_WANT_SIZES:
            self.everything = True
        else:
            self._sizes[length] = {start // length}
        return True

    def remove(self, want: Want) -> None:
        start, length = want.start, want.length
        if want.any_:
            if (start, start + length) in self._any:
                self._any.remove((start, start + length))
            return
        numbers = self._sizes.get(length)
        if numbers is not None and _is_region(start, length):
            numbers.discard(start // length)
            if not numbers:
                del self._sizes[length]

    def overlaps(self, start: int, end: int) -> bool:
        """Whether the peer subscribed to a region with any of start..end."""
        if self.everything:
            return True
        for length, numbers in self._sizes.items():
            first, last = start // length, (end - 1) // length
            if last - first < len(numbers):
                if any(number in numbers for number in range(first, last + 1)):
                    return True
            elif any(first <= number <= last for number in numbers):
                return True
        return any(low < end and start < high for low, high in self._any)

    def regions(self) -> list[tuple[int, int]]:
        """The subscribed regions as (start, length), without `everything`."""
        whole = [(number * length, length) for length, numbers in self._sizes.items() for number in numbers]
        return sorted(whole + [(low, high - low) for low, high in self._any])


def _is_region(start: int, length: int) -> bool:
    return MIN_WANT_BATCH <= length <= WANT_BATCH and length & (length - 1) == 0 and start % length == 0


class LocalWants:
    """Our subscriptions at one peer: regions with missing blocks, from the front."""

    __slots__ = ("_answered", "_batch", "_numbers")

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._numbers: frozenset[int] = _NONE
        self._answered: frozenset[int] = _NONE
        """Regions for which the peer has reported its blocks."""

    def __len__(self) -> int:
        return len(self._numbers)

    def clear(self) -> None:
        """Delete all subscriptions, so that they are sent, and answered, again."""
        self._numbers = self._answered = _NONE

    def dropped(self, start: int, end: int) -> None:
        """Blocks start..end were dropped: subscribe to their regions again. The peer answers with the blocks
        that it got meanwhile, which it did not announce to a peer that had them."""
        first, last = start // self._batch, (end - 1) // self._batch
        gone = [number for number in self._numbers if first <= number <= last]
        if gone:
            self._numbers = self._numbers.difference(gone) or _NONE
            self._answered = self._answered.difference(gone) or _NONE

    def update(self, have: Bitfield, known: int, start: int, end: int) -> tuple[list[Want], list[Want]]:
        """Wants to send, to subscribe to the missing blocks of start..end, and subscriptions to cancel for
        them.

        `known` is the length of the peer's leading run, which needs no subscription.
        """
        wants: list[Want] = []
        unwants: list[Want] = []
        at = have.first_unset(max(start, known), end)
        while at is not None:
            number = at // self._batch
            if number not in self._numbers:
                if len(self._numbers) >= MAX_LOCAL_WANTS and not unwants:
                    unwants = self._take_back(have, number)
                if len(self._numbers) >= MAX_LOCAL_WANTS:
                    break
                self._numbers |= {number}
                wants.append(Want(start=number * self._batch, length=self._batch))
            at = (
                have.first_unset((number + 1) * self._batch, end)
                if (number + 1) * self._batch < end
                else None
            )
        return wants, unwants

    def answered(self, start: int, end: int) -> None:
        """The peer has reported its blocks in start..end."""
        batch, open_ = self._batch, self._numbers - self._answered
        if open_:
            answered = [n for n in open_ if start <= n * batch < end]
            if answered:
                self._answered = self._answered.union(answered)

    def all_answered(self, have: Bitfield, start: int, end: int) -> bool:
        """Whether the peer has reported its blocks in each region of start..end in which `have` lacks
        blocks."""
        at = have.first_unset(start, end)
        while at is not None:
            number = at // self._batch
            if number not in self._answered:
                return False
            at = (number + 1) * self._batch
            at = have.first_unset(at, end) if at < end else None
        return True

    def around(self, index: int) -> Want | None:
        """The want for the region of a block, stored or not; None if it was sent already."""
        number = index // self._batch
        if number in self._numbers or len(self._numbers) >= MAX_LOCAL_WANTS:
            return None
        self._numbers |= {number}
        return Want(start=number * self._batch, length=self._batch)

    def _take_back(self, have: Bitfield, below: int) -> list[Want]:
        """Cancel subscriptions below `below` whose blocks we have."""
        batch = self._batch
        done = [
            n for n in self._numbers if n < below and have.first_unset(n * batch, (n + 1) * batch) is None
        ]
        self._numbers = self._numbers.difference(done) or _NONE
        self._answered = self._answered.difference(done) or _NONE
        return [Want(start=number * batch, length=batch) for number in sorted(done)]
