"""Decides when keys are reviewed: soon after activity, and at the moments that their seeds name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from time import monotonic

PROMPT_DELAY = 0.02
"""Seconds from what may make a key known or synced to its review."""

REVIEW_DELAY = 0.1
"""Seconds from other activity of a key to its review. A downloading core changes with every block: reviews
are batched."""

DELAY_OF_ACTIVE_KEY = 0.001
"""Seconds that each active key adds to REVIEW_DELAY. A review takes some 0.1 milliseconds: thousands of keys
that are downloaded at once spend a tenth of the time on them."""

SLICE_SECONDS = 0.004
"""Seconds of reviews in one turn of the loop, so that thousands that are due together delay no peer."""


class ReviewSchedule:
    """Calls `review` with a key once for all requests that came before, about the earliest moment requested.

    A key that is not `loaded` is not reviewed.
    """

    def __init__(self, review: Callable[[bytes], None], loaded: Callable[[bytes], bool]) -> None:
        self._review = review
        self._loaded = loaded
        self._loop = asyncio.get_running_loop()
        self._due: dict[bytes, float] = {}
        """Key -> when it is reviewed."""
        self._heap: list[tuple[float, bytes]] = []
        """The same, and some moments that no longer count."""
        self._active: set[bytes] = set()
        """Keys with activity since their last review."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._closed = False

    def soon(self, key: bytes, prompt: bool = False) -> None:
        """Review a key with activity. Called with every block of a core: the frequent case comes first.

        `prompt`: the review may make the key known or synced.
        """
        if key in self._active and not prompt:
            return
        if self._loaded(key):
            self._active.add(key)
            delay = PROMPT_DELAY if prompt else REVIEW_DELAY + DELAY_OF_ACTIVE_KEY * len(self._active)
            self._set(key, monotonic() + delay)

    def at(self, key: bytes, at: float) -> None:
        """Review a key at that moment (seconds of the monotonic clock), or earlier."""
        if self._loaded(key):
            self._set(key, at)

    def _set(self, key: bytes, at: float) -> None:
        if self._closed or self._due.get(key, at + 1) <= at:
            return
        self._due[key] = at
        heappush(self._heap, (at, key))
        if len(self._heap) > 2 * len(self._due) + 16:
            self._heap = [(due, key) for key, due in self._due.items()]
            heapify(self._heap)
        self._arm()

    def _arm(self) -> None:
        """Have `_run` called at the first moment."""
        at = self._heap[0][0]
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self._loop.call_later(max(0.0, at - monotonic()), self._run)

    def _run(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        heap, began = self._heap, monotonic()
        end = began + SLICE_SECONDS
        try:
            while heap and heap[0][0] <= began and monotonic() < end:
                at, key = heappop(heap)
                if self._due.get(key) == at:
                    del self._due[key]
                    self._active.discard(key)
                    self._review(key)
                    heap = self._heap
        finally:
            if self._heap and not self._closed:
                self._arm()

    def cancel(self, key: bytes) -> None:
        """The key is no longer loaded."""
        self._due.pop(key, None)
        self._active.discard(key)

    def close(self) -> None:
        """Review nothing more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
