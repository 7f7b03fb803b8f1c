"""Spreads repeated reports over time, so that many workers do not send everything in the same second."""

from __future__ import annotations


class Spread:
    """A budget that grows with the clock, up to the number of `begin`."""

    def __init__(self) -> None:
        self._count = 0
        self._given = 0
        self._began = 0.0
        self._seconds = 1.0
        self._first = 0

    def begin(self, count: int, *, seconds: float, first: int, now: float) -> None:
        """Spread `count` items over `seconds` from `now` on; the `first` ones at once."""
        self._count, self._given, self._began = count, 0, now
        self._seconds, self._first = max(seconds, 0.001), first

    def budget(self, now: float) -> int:
        """Number of items that may go now, beside those that went."""
        grown = self._first + int(self._count * (now - self._began) / self._seconds)
        return max(0, min(grown, self._count) - self._given)

    def used(self, count: int) -> None:
        """Record that `count` items went."""
        self._given += count
