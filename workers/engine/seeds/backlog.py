"""Keys that wait to be added or woken: a few in each turn of the loop, so that peers are served in
between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ..settings.key_list import SeedSpec

KEYS_A_TURN = 64
"""Keys that are added, or woken, in one turn of the loop."""

RETRY_DELAY = 5.0
"""Seconds until a key that could not be added is retried. The others continue."""


class Backlog:
    """`add` and `wake` are called with one key at a time; an exception concerns that key alone."""

    def __init__(
        self,
        *,
        add: Callable[[SeedSpec], None],
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
        self._adding: dict[bytes, SeedSpec] = {}
        self._waking: dict[bytes, None] = {}
        self._failed: dict[bytes, SeedSpec] = {}
        self._step_handle: asyncio.Handle | None = None
        self._retry: asyncio.Handle | None = None
        self._closed = False

    @property
    def waiting(self) -> list[bytes]:
        """Keys that are not added yet."""
        return [*self._adding, *self._failed]

    def has(self, key: bytes) -> bool:
        """Whether a key waits to be added."""
        return key in self._adding or key in self._failed

    @property
    def empty(self) -> bool:
        """Whether every key was tried. A key that cannot be added must not hold up callers."""
        return not self._adding

    def put(self, specs: Iterable[SeedSpec]) -> None:
        """Add these keys. The first of them are added before this returns."""
        for item in specs:
            if item.key not in self._failed:
                self._adding.setdefault(item.key, item)
        self._on_progress()
        if self._adding and self._step_handle is None:
            self._step()

    def put_waking(self, keys: Iterable[bytes]) -> None:
        """Wake these soon."""
        self._waking.update(dict.fromkeys(keys))
        self._schedule_step()

    def follow_forks(self, key: bytes, up_to: int | None) -> None:
        """Change the settings of a key that waits to be added."""
        for waiting in (self._adding, self._failed):
            if key in waiting:
                waiting[key] = waiting[key]._replace(max_fork=up_to)

    def remove(self, key: bytes) -> bool:
        """Drop a key that waits to be added or woken. Returns whether it waited to be added."""
        self._waking.pop(key, None)
        found = (self._adding.pop(key, None) or self._failed.pop(key, None)) is not None
        self._on_progress()
        return found

    def woken(self, key: bytes) -> None:
        """It is awake already."""
        self._waking.pop(key, None)

    def close(self) -> None:
        """Cancel the timers: nothing is done any more."""
        self._closed = True
        for handle in (self._step_handle, self._retry):
            if handle is not None:
                handle.cancel()

    def _step(self) -> None:
        self._step_handle = None
        for _ in range(KEYS_A_TURN):
            if self._waking:
                key = next(iter(self._waking))
                del self._waking[key]
                self._wake(key)
            elif self._adding:
                self._try(self._adding.pop(next(iter(self._adding))))
            else:
                break
        self._on_progress()
        self._schedule_step()

    def _try(self, spec: SeedSpec) -> None:
        try:
            self._add(spec)
        except Exception as error:
            self._failed[spec.key] = spec
            if self._retry is None and not self._closed:
                self._retry = self._loop.call_later(RETRY_DELAY, self._retry_failed)
            self._on_failure(spec.key, error)

    def _retry_failed(self) -> None:
        self._retry = None
        failed, self._failed = self._failed, {}
        self.put(failed.values())

    def _schedule_step(self) -> None:
        if self._step_handle is None and (self._waking or self._adding) and not self._closed:
            self._step_handle = self._loop.call_soon(self._step)
