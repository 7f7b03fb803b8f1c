"""When keys are reviewed: soon after activity, and at the moments that their seeds name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic


class ReviewSchedule:
    """Calls `review` with a key once for all requests that came before, at the earliest moment requested.

    `delay_of` returns the seconds from activity of a key to its review, or None if the key is not loaded:
    then it is not reviewed.
    """

    def __init__(self, review: Callable[[bytes], None], delay_of: Callable[[bytes], float | None]) -> None:
        self._review = review
        self._delay_of = delay_of
        self._loop = asyncio.get_running_loop()
        self._timers: dict[bytes, tuple[float, asyncio.TimerHandle]] = {}
        """Key -> when it is reviewed, and the timer. uvloop's handles of what is due have no `when`."""
        self._active: set[bytes] = set()
        """Keys with activity since their last review."""
        self._closed = False

    def soon(self, key: bytes) -> None:
        """Review a key with activity. Called with every block of a core: the frequent case comes first."""
        if key in self._active:
            return
        delay = self._delay_of(key)
        if delay is not None:
            self._active.add(key)
            self._set(key, monotonic() + delay)

    def at(self, key: bytes, at: float) -> None:
        """Review a key at that moment (seconds of the monotonic clock), or earlier."""
        if self._delay_of(key) is not None:
            self._set(key, at)

    def _set(self, key: bytes, at: float) -> None:
        if self._closed:
            return
        if key in self._timers:
            due, timer = self._timers[key]
            if due <= at:
                return
            timer.cancel()
        self._timers[key] = (at, self._loop.call_at(at, self._run, key))

    def _run(self, key: bytes) -> None:
        del self._timers[key]
        self._active.discard(key)
        self._review(key)

    def cancel(self, key: bytes) -> None:
        """The key is no longer loaded."""
        if key in self._timers:
            self._timers.pop(key)[1].cancel()
        self._active.discard(key)

    def close(self) -> None:
        """Review nothing more."""
        self._closed = True
        for _, timer in self._timers.values():
            timer.cancel()
