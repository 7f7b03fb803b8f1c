"""Leaky buckets: rate limits per key, with a bound on the number of keys. No clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple


class RateLimit(NamedTuple):
    """`burst` at once, then one each `seconds`."""

    burst: int
    seconds: float


class Buckets:
    """One bucket per key, in memory. Beyond `max_keys` the least recently used are removed."""

    def __init__(self, limit: RateLimit, max_keys: int) -> None:
        self._limit = limit
        self._max_keys = max_keys
        self._empty_at: OrderedDict[Hashable, float] = OrderedDict()
        """Key to the time when its bucket is empty again."""

    def __len__(self) -> int:
        return len(self._empty_at)

    def wait(self, key: Hashable, now: float) -> float:
        """Seconds until there is room for one more. `now` is seconds of a monotonic clock."""
        level = self._empty_at.get(key, now) - now
        return max(0.0, level - (self._limit.burst - 1) * self._limit.seconds)

    def add(self, key: Hashable, now: float) -> None:
        """Add one to the bucket of `key`, also beyond its bound. `now` is seconds of a monotonic clock."""
        self._empty_at[key] = max(now, self._empty_at.get(key, now)) + self._limit.seconds
        self._empty_at.move_to_end(key)
        if len(self._empty_at) > self._max_keys:
            self._empty_at.popitem(last=False)

    def take(self, key: Hashable, now: float) -> bool:
        """Add one if there is room. Returns whether there was."""
        if self.wait(key, now) > 0:
            return False
        self.add(key, now)
        return True

    def remove(self, key: Hashable) -> None:
        """Empty the bucket of `key`."""
        self._empty_at.pop(key, None)
