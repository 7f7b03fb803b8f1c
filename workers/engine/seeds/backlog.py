"""Keys that wait to be added or woken: a few in each turn of the loop, so that peers are served in
between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ..settings.key_list import Wanted

KEYS_A_TURN = 64
"""Keys that are added, or woken, in one turn of the loop."""

RETRY_DELAY = 5.0
"""Seconds until a key that could not be added is retried. The others continue."""


class Backlog:
    """`add` and `wake` are called with one key at a time; an exception concerns that key alone."""

    def __init__(
        self,
        *,
        add: Callable[[Wanted], None],
        wake: Callable[[bytes], None],
        on_failure: Callable[[bytes, Exception], None],
        on_progress: Callable[[], None],
    ) -> None:
        """`on_progress` is called when `waiting` may have changed."""
        self._add = add
        self._wake = wake
        self._on_failure = on_failure
        self._on_progress = on_progress
        self._loop = asyncio.get_running_loop()
        self._arriving: dict[bytes, Wanted] = {}
        self._waking: dict[bytes, None] = {}
        self._failed: dict[bytes, Wanted] = {}
        self._turn: asyncio.Handle | None = None
        self._retry: asyncio.Handle | None = None
        self._closed = False

    @property
    def waiting(self) -> list[bytes]:
        """Keys that are not added yet."""
        return [*self._arriving, *self._failed]

    @property
    def empty(self) -> bool:
        """Whether every key was tried. A key that cannot be added must not hold up callers."""
        return not self._arriving

    def put(self, wanted: Iterable[Wanted]) -> None:
        """Add these keys. The first of them are added before this returns."""
        for item in wanted:
            if item.key not in self._failed:
                self._arriving.setdefault(item.key, item)
        self._on_progress()
        if self._arriving and self._turn is None:
            self._work()

    def put_waking(self, keys: Iterable[bytes]) -> None:
        """Wake these soon."""
        self._waking.update(dict.fromkeys(keys))
        self._go_on()

    def follow_forks(self, key: bytes, up_to: int | None) -> None:
        """Change the settings of a key that waits to be added."""
        for waiting in (self._arriving, self._failed):
            if key in waiting:
                waiting[key] = waiting[key]._replace(max_fork=up_to)

    def remove(self, key: bytes) -> bool:
        """Drop a key that waits to be added or woken. Returns whether it waited to be added."""
        self._waking.pop(key, None)
        found = (self._arriving.pop(key, None) or self._failed.pop(key, None)) is not None
        self._on_progress()
        return found

    def woken(self, key: bytes) -> None:
        """It is awake already."""
        self._waking.pop(key, None)

    def close(self) -> None:
        self._closed = True
        for handle in (self._turn, self._retry):
            if handle is not None:
                handle.cancel()

    def _work(self) -> None:
        self._turn = None
        for _ in range(KEYS_A_TURN):
            if self._waking:
                key = next(iter(self._waking))
                del self._waking[key]
                self._wake(key)
            elif self._arriving:
                self._try(self._arriving.pop(next(iter(self._arriving))))
            else:
                break
        self._on_progress()
        self._go_on()

    def _try(self, wanted: Wanted) -> None:
        try:
            self._add(wanted)
        except Exception as error:
            self._failed[wanted.key] = wanted
            if self._retry is None and not self._closed:
                self._retry = self._loop.call_later(RETRY_DELAY, self._retry_failed)
            self._on_failure(wanted.key, error)

    def _retry_failed(self) -> None:
        self._retry = None
        failed, self._failed = self._failed, {}
        self.put(failed.values())

    def _go_on(self) -> None:
        if self._turn is None and (self._waking or self._arriving) and not self._closed:
            self._turn = self._loop.call_soon(self._work)
