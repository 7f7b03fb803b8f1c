"""A sorted set of integers, kept as half-open runs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class RangeSet:
    """Numbers are not wrapped here. Costs grow with the number of runs, not of members."""

    __slots__ = ("_ends", "_starts", "count")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.count = 0
        """Number of members."""

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __len__(self) -> int:
        """Number of runs."""
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._starts, self._ends, strict=True))

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number < self._ends[at]

    @property
    def highest(self) -> int:
        """One above the largest number. The set must not be empty."""
        return self._ends[-1]

    def add(self, start: int, end: int) -> int:
        """Add `start` to `end - 1`. Returns the number of new members."""
        starts, ends = self._starts, self._ends
        first = bisect_left(ends, start)  # the first run that touches or follows
        last = bisect_right(starts, end)  # one behind the last run that touches
        if first == last:
            starts.insert(first, start)
            ends.insert(first, end)
            self.count += end - start
            return end - start
        held = sum(ends[at] - starts[at] for at in range(first, last))
        start = min(start, starts[first])
        end = max(end, ends[last - 1])
        starts[first:last] = [start]
        ends[first:last] = [end]
        new = end - start - held
        self.count += new
        return new

    def remove(self, start: int, end: int) -> int:
        """Remove `start` to `end - 1`. Returns the number of removed members."""
        starts, ends = self._starts, self._ends
        first = bisect_right(ends, start)  # the first run that reaches beyond `start`
        last = bisect_left(starts, end)  # one behind the last run that begins before `end`
        if first >= last:
            return 0
        low, high = starts[first], ends[last - 1]
        removed = sum(ends[at] - starts[at] for at in range(first, last))
        rest = [run for run in ((low, start), (end, high)) if run[0] < run[1]]
        removed -= sum(high - low for low, high in rest)
        starts[first:last] = [low for low, _ in rest]
        ends[first:last] = [high for _, high in rest]
        self.count -= removed
        return removed

    def remove_last_run(self) -> tuple[int, int]:
        """Remove and return the run of the largest numbers. The set must not be empty."""
        run = self._starts.pop(), self._ends.pop()
        self.count -= run[1] - run[0]
        return run

    def end_of(self, number: int) -> int | None:
        """End of the run with `number`; None if it is no member."""
        at = bisect_right(self._starts, number) - 1
        return self._ends[at] if at >= 0 and number < self._ends[at] else None

    def next(self, number: int) -> int | None:
        """The smallest member at or above `number`; None without one."""
        at = bisect_right(self._ends, number)
        return max(number, self._starts[at]) if at < len(self._starts) else None

    def within(self, start: int, end: int | None) -> list[tuple[int, int]]:
        """The runs, cut to `start` to `end - 1`, in ascending order."""
        starts, ends = self._starts, self._ends
        first = bisect_right(ends, start)
        last = len(starts) if end is None else bisect_left(starts, end)
        return [
            (max(starts[at], start), ends[at] if end is None else min(ends[at], end))
            for at in range(first, last)
        ]

    def remove_below(self, bound: int) -> int:
        """Remove all numbers below `bound`. Returns their number."""
        starts, ends = self._starts, self._ends
        if not starts or starts[0] >= bound:
            return 0
        whole = bisect_right(ends, bound)
        removed = sum(ends[at] - starts[at] for at in range(whole))
        del starts[:whole]
        del ends[:whole]
        if starts and starts[0] < bound:
            removed += bound - starts[0]
            starts[0] = bound
        self.count -= removed
        return removed

    def gaps(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The runs between `start` and `end` that are not in the set, in ascending order."""
        at = bisect_right(self._ends, start)
        while start < end:
            if at == len(self._starts) or self._starts[at] >= end:
                yield start, end
                return
            if self._starts[at] > start:
                yield start, self._starts[at]
            start = self._ends[at]
            at += 1
