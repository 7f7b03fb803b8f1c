"""Leaky buckets: how often something may happen per key, with a bound on the keys. No clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple


class Allowance(NamedTuple):
    """So many at once, then one in so many seconds."""

    burst: int
    seconds: float


class Buckets:
    """One bucket per key, in memory. Those used longest ago are forgotten beyond `max_keys`."""

    def __init__(self, allowance: Allowance, max_keys: int) -> None:
        self._allowance = allowance
        self._max_keys = max_keys
        self._empty_at: OrderedDict[Hashable, float] = OrderedDict()
        """When nothing of what was added counts any more."""

    def __len__(self) -> int:
        return len(self._empty_at)

    def wait(self, key: Hashable, now: float) -> float:
        """Seconds until there is room for one more; `now` is in seconds of a clock that does not go back."""
        level = self._empty_at.get(key, now) - now
        return max(0.0, level - (self._allowance.burst - 1) * self._allowance.seconds)

    def add(self, key: Hashable, now: float) -> None:
        self._empty_at[key] = max(now, self._empty_at.get(key, now)) + self._allowance.seconds
        self._empty_at.move_to_end(key)
        if len(self._empty_at) > self._max_keys:
            self._empty_at.popitem(last=False)

    def take(self, key: Hashable, now: float) -> bool:
        """Add one if there is room."""
        if self.wait(key, now) > 0:
            return False
        self.add(key, now)
        return True

    def forget(self, key: Hashable) -> None:
        self._empty_at.pop(key, None)
