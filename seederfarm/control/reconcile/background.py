"""Runs writes in one background thread, one at a time, with a database connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from django.db import connections


class BackgroundWriter:
    """`with BackgroundWriter(True) as writer: writer.do(work)`. False: run synchronously.

    The end of the block waits for all writes. An exception is raised by the next call, or there.
    """

    def __init__(self, wanted: bool) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="behind") if wanted else None
        self._going: Future[None] | None = None

    def __enter__(self) -> BackgroundWriter:
        return self

    def do(self, work: Callable[[], None]) -> None:
        """Wait for the previous piece, then start this one."""
        if self._pool is None:
            work()
            return
        self._wait()
        self._going = self._pool.submit(work)

    def _wait(self) -> None:
        if self._going is not None:
            going, self._going = self._going, None
            going.result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        try:
            if error is None:
                self._wait()
        finally:
            self._pool.submit(connections.close_all)
            self._pool.shutdown()
