"""Names that expire, all after the same time: one timer for thousands of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from ..timer import DeadlineTimer


class IdleQueue:
    """Calls `expire(name)` when a name has been in the queue for `seconds`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, expire: Callable[[bytes], None]
    ) -> None:
        self._seconds = seconds
        self._expire = expire
        self._due: dict[bytes, float] = {}
        """Deadline of each name, in order, since all wait equally long."""
        self._timer = DeadlineTimer(loop, self._on_timer)

    def __contains__(self, name: bytes) -> bool:
        return name in self._due

    def add(self, name: bytes) -> None:
        """Start the time of a name. One that is queued keeps its time."""
        if name not in self._due:
            self._due[name] = monotonic() + self._seconds
            self._set_timer()

    def discard(self, name: bytes) -> None:
        """Remove a name. The timer is left as it is."""
        self._due.pop(name, None)

    def close(self) -> None:
        self._due.clear()
        self._timer.cancel()

    def _set_timer(self) -> None:
        self._timer.set(next(iter(self._due.values()), None))

    def _on_timer(self, now: float) -> None:
        while self._due:
            name, at = next(iter(self._due.items()))
            if at > now:
                break
            del self._due[name]
            self._expire(name)
        self._set_timer()
