"""Events about one key that come again and again: one row an hour, with the number of those left out."""

from __future__ import annotations

from collections import OrderedDict

REPEAT_INTERVAL = 3600.0
"""Seconds from one event of a code about a key to the next that is recorded. A drive that is written to all
day has one row an hour then, and not one for each append."""

MAX_TRACKED = 100_000
"""Keys and codes that are remembered (about 20 MB); the ones recorded longest ago are forgotten first."""


class Repeats:
    """`admit` each event, with the seconds of a clock that is never set."""

    def __init__(self) -> None:
        self._tracked: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        """Key and code to when one was recorded, and how many were left out since."""

    def admit(self, key: str, code: str, now: float) -> int | None:
        """How many like it were left out since the last one that was recorded; None: leave it out, too."""
        at, left_out = self._tracked.get((key, code), (float("-inf"), 0))
        if now < at + REPEAT_INTERVAL:
            self._tracked[key, code] = (at, left_out + 1)
            return None
        self._tracked[key, code] = (now, 0)
        self._tracked.move_to_end((key, code))
        while len(self._tracked) > MAX_TRACKED:
            self._tracked.popitem(last=False)
        return left_out
