"""Online state, derived from how many of our requests are answered.

Source: dht-rpc lib/health.js (6.27.0), its offline half.
"""

from __future__ import annotations

IDLE_REQUESTS = 4
"""Finished requests per tick below which nothing can be decided."""

OFFLINE_TICKS = 2
"""Ticks in a row without any answer after which we are offline."""


class NetworkHealth:
    """Fed once per tick with the running totals of answers and time-outs."""

    __slots__ = ("_answered", "_silent_ticks", "_timed_out", "online")

    def __init__(self) -> None:
        self.online = True
        self._answered = 0
        self._timed_out = 0
        self._silent_ticks = 0

    def update(self, answered: int, timed_out: int) -> bool:
        """Returns whether `online` changed."""
        answers = answered - self._answered
        failures = timed_out - self._timed_out
        self._answered, self._timed_out = answered, timed_out
        was = self.online
        if answers:
            self._silent_ticks = 0
            self.online = True
        elif failures >= IDLE_REQUESTS:
            self._silent_ticks += 1
            if self._silent_ticks >= OFFLINE_TICKS:
                self.online = False
        return was != self.online
