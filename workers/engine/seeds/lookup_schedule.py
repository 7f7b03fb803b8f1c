"""When a key looks for peers. Pure: the time is an argument.

A key that is behind looks until it is not, first often, then ever more rarely: somebody who has it may come
at any time, and may announce himself without looking for us. A complete key has found what it wanted:
readers find it by its announce. That its publisher may come back with more and look for nobody is the swarm's
business: it glances, now and then, while it announces.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_REPEAT = 5.0
"""Seconds from the first look of a key that is behind to the second. Each wait is twice the one before."""

LATER_REPEAT = 60.0
"""The same for a key that has peers: they may have all that is missing, or they may not."""

LONGEST_REPEAT = 600.0
"""Seconds between two looks of a key that stays behind (hyperswarm lib/peer-discovery.js looks as often)."""

LOOK_TIME = 30.0
"""Seconds that a key looks which was complete when it was added, and has no peers."""

CATCH_UP = 5.0
"""Seconds that a key which was complete, and has peers, is given to get what is new from them before it looks
for others."""


@dataclass(slots=True)
class Lookups:
    """Decides for one key. `spread` (0 to 1) differs between keys, so that they do not all look at once.

    `looked`: it need not look when it is complete.
    """

    spread: float
    looked: bool = False
    _repeat: float = FIRST_REPEAT
    _repeat_at: float | None = None
    _had_peers: bool = False
    _look_until: float | None = None
    _behind_since: float | None = None

    def wants(self, *, complete: bool, peers: int, now: float) -> bool:
        """Whether to look for peers now."""
        if not complete:
            self._look_until = None
            if self._behind_since is None:
                self._behind_since = now
            return not (self.looked and peers and now < self._behind_since + CATCH_UP)
        self._repeat_at = self._behind_since = None
        if peers:
            self.looked = True  # whoever is connected tells us what is new
        if self.looked:
            self._look_until = None
            return False
        if self._look_until is None:
            # Just started complete: what is known is here, but is it all there is?
            self._look_until = now + LOOK_TIME
        self.looked = now >= self._look_until
        return not self.looked

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
        if self._behind_since is not None and self.looked and now < self._behind_since + CATCH_UP:
            return self._behind_since + CATCH_UP
        return self._repeat_at if self._repeat_at is not None else self._look_until
