"""Keeps what pages read of very many rows: the health of each drive, the numbers of copies of each worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from django.utils import timezone

from seederfarm.registry import stored_health, tallies

from ..db.locks import try_lock

COUNT_EVERY: Final = 15.0
"""Smallest number of seconds between two counts of all copies."""
COUNT_DUTY: Final = 50.0
"""A count is repeated after this many times its duration: it takes 2 % of the time at most."""


class Upkeep:
    """One run after the other. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sweep_at = self._count_at = float("-inf")

    def run(self, now: datetime | None = None) -> None:
        """Do what is due. One process at a time."""
        now = now or timezone.now()
        with try_lock("upkeep") as alone:
            if not alone:
                return
            stored_health.refresh_due(now)
            start = self._clock()
            if start >= self._sweep_at:
                self._sweep_at = start + stored_health.SWEEP_EVERY.total_seconds()
                stored_health.sweep(now)
            self._count(now)

    def _count(self, now: datetime) -> None:
        start = self._clock()
        if start < self._count_at:
            return
        tallies.recount(now)
        end = self._clock()
        self._count_at = end + max(COUNT_EVERY, COUNT_DUTY * (end - start))


upkeep: Final = Upkeep()
"""Of the process."""
