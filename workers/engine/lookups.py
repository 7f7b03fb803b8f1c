"""When a key looks for peers. Pure: the time is an argument.

A key that is behind looks until it is not. A complete one has found what it wanted: readers find it by its
announce. But its publisher may come back with more and look for nobody, so it looks again, rarely.
"""

from __future__ import annotations

from dataclasses import dataclass

RECHECK_INTERVAL = 900.0
"""Seconds between two looks of a complete key that has no peers."""

LOOK_TIME = 30.0
"""Seconds a look of a complete key lasts."""


@dataclass(slots=True)
class Lookups:
    """Decides for one key. `spread` (0 to 1) differs between keys, so that they do not all look at once."""

    spread: float
    _looking_until: float | None = None
    _next_look: float | None = None

    def wants(self, *, complete: bool, peers: int, now: float) -> bool:
        """Whether to look now."""
        if not complete:
            self._looking_until = self._next_look = None
            return True
        if self._looking_until is None:
            # Just completed, or just started complete: what is known is here, but is it all there is?
            self._looking_until = now + LOOK_TIME
        if now < self._looking_until:
            return True
        if peers:
            self._next_look = None  # whoever is connected tells us what is new
            return False
        if self._next_look is None:
            self._next_look = now + RECHECK_INTERVAL * (0.5 + self.spread)
        if now >= self._next_look:
            self._next_look = None
            self._looking_until = now + LOOK_TIME
            return True
        return False

    def next_deadline(self, now: float) -> float | None:
        """When `wants` may answer something else without anything else having changed."""
        if self._looking_until is not None and now < self._looking_until:
            return self._looking_until
        return self._next_look
