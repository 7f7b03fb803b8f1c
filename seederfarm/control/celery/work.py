"""Counts the tasks that run in this process, and has those fail that Celery would not acknowledge."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Final


class OutOfMemory(Exception):
    """A task had too little memory. Celery raises MemoryError again in the thread, where nothing sees it, and
    the message would keep its place among those that are prefetched; after this error it is acknowledged."""


class WorkCounter:
    """Numbers of tasks. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = self._started = 0

    @property
    def running(self) -> int:
        """Tasks that run now."""
        return self._running

    @property
    def started(self) -> int:
        """Tasks that were started since the process began."""
        return self._started

    def counted(self, work: Callable[..., None]) -> Callable[..., None]:
        """Wrap `work` of a task. Raises OutOfMemory for its MemoryError."""

        @wraps(work)
        def run(*args: object) -> None:
            with self._lock:
                self._running += 1
                self._started += 1
            try:
                work(*args)
            except MemoryError as error:
                raise OutOfMemory(str(error)) from error
            finally:
                with self._lock:
                    self._running -= 1

        return run


counter: Final = WorkCounter()
