"""Work on the drives that change: on one at a time, and on each at most once in a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class ChangedDrives:
    """The drives that changed and wait for some work, and those on which it was done lately."""

    def __init__(
        self, work: Callable[[bytes], Awaitable[float]], *, is_wanted: Callable[[bytes], bool], pause: float
    ) -> None:
        """`work` does it for one key, and returns the seconds until it may be done again; it raises nothing.
        `pause`: seconds between two drives."""
        self._work = work
        self._is_wanted = is_wanted
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        self._due: dict[bytes, None] = {}
        self._resting: dict[bytes, bool] = {}
        """Keys that wait until the work may be done again, and whether they have changed since."""
        self._wake = asyncio.Event()

    def changed(self, key: bytes) -> None:
        """Do the work for this drive, now or when its rest is over."""
        if key in self._resting:
            self._resting[key] = True
        else:
            self._due[key] = None
            self._wake.set()

    def discard(self, key: bytes) -> None:
        """The key is no longer seeded."""
        self._due.pop(key, None)

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                key = next(iter(self._due))
                del self._due[key]
                if self._is_wanted(key):
                    self._resting[key] = False
                    rest = await self._work(key)
                    self._loop.call_later(rest, self._rested, key)
                    await asyncio.sleep(self._pause)

    def _rested(self, key: bytes) -> None:
        if self._resting.pop(key, False) and self._is_wanted(key):
            self.changed(key)
