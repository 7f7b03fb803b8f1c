"""A timer for deadlines that change often.

The clock of `aio`, and of all rooms below it, is `time.monotonic`. uvloop reads the loop's own clock once a
turn, in milliseconds, which is coarser than a round trip on a local network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic


class DeadlineTimer:
    """Calls back at the earliest time set since its last call, or somewhat earlier."""

    __slots__ = ("_at", "_callback", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[float], None]) -> None:
        """`callback(now)` compares its deadline with `now`."""
        self._loop = loop
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self._at = 0.0

    def set(self, at: float | None) -> None:
        """Call back at `at` at the latest. A timer that fires earlier stays: that is cheaper."""
        if at is None or (self._handle is not None and self._at <= at):
            return
        if self._handle is not None:
            self._handle.cancel()
        self._at = at
        self._handle = self._loop.call_later(max(at - monotonic(), 0.0), self._fire)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        self._callback(monotonic())
