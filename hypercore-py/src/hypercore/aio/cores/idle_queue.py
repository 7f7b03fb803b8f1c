"""Names whose time comes, each as long after it was added as any other: one timer for thousands of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from ..timer import DeadlineTimer


class IdleQueue:
    """`expire(name)` is called once a name was in here for `seconds`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, expire: Callable[[bytes], None]
    ) -> None:
        self._seconds = seconds
        self._expire = expire
        self._due: dict[bytes, float] = {}
        """In the order of their times, since all wait equally long."""
        self._timer = DeadlineTimer(loop, self._on_timer)

    def __contains__(self, name: bytes) -> bool:
        return name in self._due

    def add(self, name: bytes) -> None:
        """From now on; a name that is in here keeps its time."""
        if name not in self._due:
            self._due[name] = monotonic() + self._seconds
            self._set_timer()

    def discard(self, name: bytes) -> None:
        """Forget it. The timer may come for nothing."""
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
