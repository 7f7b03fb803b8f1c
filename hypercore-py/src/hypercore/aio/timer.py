"""A timer that is moved often and fires seldom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic


class DeadlineTimer:
    """Calls back at the time that was set last, or somewhat before: whoever is called looks at the clock."""

    __slots__ = ("_at", "_callback", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[float], None]) -> None:
        """`callback(now)`; times are those of `time.monotonic`."""
        self._loop = loop
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self._at = 0.0

    def set(self, at: float | None) -> None:
        """Call back at `at` at the latest. A timer that is early anyway is left alone: that is cheaper."""
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
