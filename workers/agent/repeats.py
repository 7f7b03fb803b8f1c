"""Limits repeated events about one key to one row an hour, with the number of those left out."""

from __future__ import annotations

from collections import OrderedDict

REPEAT_INTERVAL = 3600.0
"""Seconds between recorded events of a code about a key. A drive that is written to all day has one row an
hour, not one for each append."""

MAX_TRACKED = 100_000
"""Pairs of key and code that are tracked (about 20 MB); the ones recorded longest ago are dropped first."""


class Repeats:
    """Call `admit` for each event, with seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._tracked: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        """Key and code to the time of the last recorded event and the number left out since."""

    def admit(self, key: str, code: str, now: float) -> int | None:
        """The number of such events left out since the last recorded one; None: leave this one out, too."""
        at, left_out = self._tracked.get((key, code), (float("-inf"), 0))
        if now < at + REPEAT_INTERVAL:
            self._tracked[key, code] = (at, left_out + 1)
            return None
        self._tracked[key, code] = (now, 0)
        self._tracked.move_to_end((key, code))
        while len(self._tracked) > MAX_TRACKED:
            self._tracked.popitem(last=False)
        return left_out
