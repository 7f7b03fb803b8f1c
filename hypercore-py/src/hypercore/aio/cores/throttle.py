"""A rate limit with a timer."""

from __future__ import annotations

import asyncio

from ...replication import RateLimit


class Throttle:
    """Sees to it that those who wait for `limit` get their turns. Times are those of `loop.time`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.limit = RateLimit(on_wake=self._set_timer)
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def set_rate(self, rate: float | None) -> None:
        """Bytes a second; None lifts the limit. Raises ValueError."""
        self.limit.set_rate(rate, self._loop.time())

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        self.close()
        deadline = self.limit.next_deadline()
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        # The loop may be a hair early by its own clock
        deadline = self.limit.next_deadline()
        if deadline is not None:
            self.limit.handle_timer(max(self._loop.time(), deadline))
