"""Decides when a key looks up peers. Pure: the time is an argument.

A key that is behind looks until it is not, first often, then ever more rarely: a peer that has it may appear
at any time and announce itself without looking up others. A complete key needs no lookups: readers find its
announcement. In case its publisher returns with more and looks up no peers, the swarm occasionally looks
while it announces.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_REPEAT = 5.0
"""Seconds from the first lookup of a key that is behind to the second. Each wait is twice the previous
one."""

LATER_REPEAT = 60.0
"""The same for a key with peers: they may or may not have all that is missing."""

LONGEST_REPEAT = 600.0
"""Seconds between two lookups of a key that stays behind (as hyperswarm lib/peer-discovery.js)."""

LOOKUP_TIME = 30.0
"""Seconds of lookups for a key that was complete when added and has no peers."""

CATCH_UP = 5.0
"""Seconds that a complete key with peers waits for their updates before it looks up others."""


@dataclass(slots=True)
class Lookups:
    """Decides for one key. `spread` (0 to 1) differs between keys, so that they do not all look at once.

    `asked`: a complete key need not look.
    """

    spread: float
    asked: bool = False
    _repeat: float = FIRST_REPEAT
    _repeat_at: float | None = None
    _had_peers: bool = False
    _lookup_until: float | None = None
    _behind_since: float | None = None

    def wants(self, *, complete: bool, peers: int, now: float) -> bool:
        """Whether lookups should run now."""
        if not complete:
            self._lookup_until = None
            if self._behind_since is None:
                self._behind_since = now
            return not (self.asked and peers and now < self._behind_since + CATCH_UP)
        self._repeat_at = self._behind_since = None
        if peers:
            self.asked = True  # connected peers announce what is new
        if self.asked:
            self._lookup_until = None
            return False
        if self._lookup_until is None:
            # Just started complete: what is known is here, but is it all there is?
            self._lookup_until = now + LOOKUP_TIME
        self.asked = now >= self._lookup_until
        return not self.asked

    def repeats(self, *, complete: bool, peers: int, now: float) -> bool:
        """Whether to look again now, instead of waiting for the swarm's own schedule."""
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
        """Return when the results may change by time alone."""
        if self._behind_since is not None and self.asked and now < self._behind_since + CATCH_UP:
            return self._behind_since + CATCH_UP
        return self._repeat_at if self._repeat_at is not None else self._lookup_until
