"""When a key looks for peers. Pure: the time is an argument.

A key that is behind looks until it is not, first often, then ever more rarely: somebody who has it may come
at any time, and may announce himself without looking for us. A complete key has found what it wanted:
readers find it by its announce. But its publisher may come back with more and look for nobody, so it looks
again, rarely.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_REPEAT = 5.0
"""Seconds from the first look of a key that is behind to the second. Each wait is twice the one before."""

LATER_REPEAT = 60.0
"""The same for a key that has peers: they may have all that is missing, or they may not."""

LONGEST_REPEAT = 600.0
"""Seconds between two looks of a key that stays behind (hyperswarm lib/peer-discovery.js looks as often)."""

RECHECK_INTERVAL = 900.0
"""Seconds between two looks of a complete key that has no peers."""

LOOK_TIME = 30.0
"""Seconds a look of a complete key lasts."""


@dataclass(slots=True)
class Lookups:
    """Decides for one key. `spread` (0 to 1) differs between keys, so that they do not all look at once."""

    spread: float
    _repeat: float = FIRST_REPEAT
    _repeat_at: float | None = None
    _had_peers: bool = False
    _look_until: float | None = None
    _look_at: float | None = None

    def wants(self, *, complete: bool, peers: int, now: float) -> bool:
        """Whether to look for peers now."""
        if not complete:
            self._look_until = self._look_at = None
            return True
        self._repeat_at = None
        if self._look_until is None:
            # Just completed, or just started complete: what is known is here, but is it all there is?
            self._look_until = now + LOOK_TIME
        if now < self._look_until:
            return True
        if peers:
            self._look_at = None  # whoever is connected tells us what is new
            return False
        if self._look_at is None:
            self._look_at = now + RECHECK_INTERVAL * (0.5 + self.spread)
        if now >= self._look_at:
            self._look_at = None
            self._look_until = now + LOOK_TIME
            return True
        return False

    def repeats(self, *, complete: bool, peers: int, now: float) -> bool:
        """Whether to look once more now, instead of waiting for the swarm to do so by itself."""
        if complete:
            return False
        had_peers, self._had_peers = self._had_peers, peers > 0
        if self._repeat_at is None or had_peers is not self._had_peers:
            self._repeat = LATER_REPEAT if peers else FIRST_REPEAT
            self._repeat_at = now + self._repeat * (1 + self.spread / 2)
            return had_peers and not peers
        if now < self._repeat_at:
            return False
        self._repeat = min(LONGEST_REPEAT, 2 * self._repeat)
        self._repeat_at = now + self._repeat * (1 + self.spread / 2)
        return True

    def next_deadline(self, now: float) -> float | None:
        """When the answers may be others without anything else having changed."""
        if self._repeat_at is not None:
            return self._repeat_at
        if self._look_until is not None and now < self._look_until:
            return self._look_until
        return self._look_at
