"""Divides a long task, so that it takes a bounded part of the event loop's time."""

from __future__ import annotations

import asyncio
from time import perf_counter

SLICE_SECONDS = 0.001
"""Seconds of a task in one turn of the event loop. Ours."""

PAUSE_SECONDS = 0.002
"""Seconds for others after each slice: whatever peers cause, a task takes a third of the time. Ours."""


class Slices:
    """`await rest()` after each step of the task."""

    def __init__(self) -> None:
        self._until = perf_counter() + SLICE_SECONDS

    async def rest(self) -> None:
        """Pause if the slice is over."""
        if perf_counter() >= self._until:
            await asyncio.sleep(PAUSE_SECONDS)
            self._until = perf_counter() + SLICE_SECONDS
