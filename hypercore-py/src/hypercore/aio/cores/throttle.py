"""A rate limit with a timer."""

from __future__ import annotations

import asyncio
from time import monotonic

from ...replication import RateLimit
from ..timer import DeadlineTimer


class Throttle:
    """Resumes waiting peers in turns as `limit` allows."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.limit = RateLimit(on_wake=self._set_timer)
        self._timer = DeadlineTimer(loop, self._on_timer)

    def set_rate(self, rate: float | None) -> None:
        """Bytes a second; None lifts the limit. Raises ValueError."""
        self.limit.set_rate(rate, monotonic())

    def close(self) -> None:
        self._timer.cancel()

    def _set_timer(self) -> None:
        self._timer.set(self.limit.next_deadline())

    def _on_timer(self, now: float) -> None:
        self.limit.handle_timer(now)
        self._set_timer()
