"""Stalls of the event loop: the longest time in which nothing else could run."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

BEAT_SECONDS = 0.02
"""Seconds between two beats of the meter; a stall delays them. Fifty a second cost a thousandth of one
processor."""


class Stalls(NamedTuple):
    """Maxima since the last reading, in milliseconds."""

    stall: float
    """Time without a turn of the loop, whatever the reason: our own work, the disk, or other processes."""
    busy: float
    """Of such a time, the work of the loop's own thread."""


class StallMeter:
    """Runs on the current loop until closed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stall = self._busy = 0.0
        self._start()

    def take(self) -> Stalls:
        """Measurements since the last call."""
        taken = Stalls(round(self._stall * 1000, 1), round(self._busy * 1000, 1))
        self._stall = self._busy = 0.0
        return taken

    def close(self) -> None:
        """Stop measuring."""
        self._timer.cancel()

    def _start(self) -> None:
        self._at, self._worked = time.perf_counter(), time.thread_time()
        self._timer = self._loop.call_later(BEAT_SECONDS, self._beat)

    def _beat(self) -> None:
        stall = time.perf_counter() - self._at - BEAT_SECONDS
        self._stall = max(self._stall, stall)
        self._busy = max(self._busy, min(stall, time.thread_time() - self._worked))
        self._start()
