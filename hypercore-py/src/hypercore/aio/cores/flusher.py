"""Flushes a store in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ...core import Core, Flush, Store
from ...errors import StorageError

FLUSH_DELAY = 0.1
"""Seconds from the first change to its flush. Only durable blocks are announced."""

FLUSH_BYTES = 8 << 20
"""Bytes of blocks in memory at which a flush starts without delay."""

RETRY_DELAY = 2.0
"""Seconds to the next try after a failed flush. All changes stay in memory meanwhile."""

Runs = list[tuple[int, int]]

log = logging.getLogger(__name__)


class Flusher:
    """Starts flushes: call `touch` after every change.

    `on_durable` is called on the loop for each core that was written, with the runs (start, end) of its
    blocks that are now durable; `on_flushed` after every flush; `on_error` when a flush fails, once for each
    new reason, not for each try.
    """

    def __init__(
        self,
        store: Store,
        *,
        loop: asyncio.AbstractEventLoop,
        on_durable: Callable[[Core, Runs], None],
        on_flushed: Callable[[], None],
        on_error: Callable[[StorageError], None],
        delay: float = FLUSH_DELAY,
    ) -> None:
        self._store = store
        self._loop = loop
        self._on_durable = on_durable
        self._on_flushed = on_flushed
        self._on_error = on_error
        self._delay = delay
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hypercore-flush")
        self._timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._failed = False
        self._reason: tuple[type[StorageError], str] | None = None
        """Error of the last flush. None: it succeeded."""
        self._closed = False

    @property
    def failed(self) -> bool:
        """Whether the last flush did not succeed."""
        return self._failed

    def touch(self) -> None:
        """The store has changes: flush them within FLUSH_DELAY."""
        if self._running is not None or self._closed:
            return  # when the running flush ends, it checks for changes
        if not self._failed and self._store.dirty_bytes >= FLUSH_BYTES:
            self._start()
        elif self._timer is None:
            delay = RETRY_DELAY if self._failed else self._delay
            self._timer = self._loop.call_later(delay, self._start)

    async def flush(self) -> None:
        """Returns when all changes so far are durable. Raises StorageError."""
        await self._until_done()
        self._start()
        await self._until_done()
        if self._failed:
            raise StorageError("what was downloaded last could not be written; see the error before")

    async def close(self) -> None:
        """Flush once more and end the thread. Raises StorageError if that flush fails."""
        if self._closed:
            return
        try:
            await self.flush()
        finally:
            self._closed = True
            self._cancel_timer()
            self._thread.shutdown(wait=False)

    async def _until_done(self) -> None:
        while self._running is not None:
            await asyncio.wait([self._running])

    def _start(self) -> None:
        self._cancel_timer()
        try:
            flush = self._store.prepare_flush()
        except StorageError as error:
            self._fail(error)
            return
        if flush is not None:
            self._running = self._loop.create_task(self._run(flush))

    async def _run(self, flush: Flush) -> None:
        try:
            await self._loop.run_in_executor(self._thread, flush.run)
        except StorageError as error:
            flush.abandon()
            self._running = None
            self._fail(error)
            self._on_flushed()
            return
        except BaseException:
            flush.abandon()
            self._running = None
            raise
        self._failed = False
        if self._reason is not None:
            self._reason = None
            log.warning("the disk takes writes again: everything is stored")
        self._running = None
        for core, runs in flush.finish():
            self._on_durable(core, runs)
        self._on_flushed()
        if self._store.dirty:
            self.touch()

    def _fail(self, error: StorageError) -> None:
        self._failed = True
        reason = (type(error), str(error))
        if reason != self._reason:
            self._reason = reason
            # `on_error` has reported it already
            log.error("could not write: %s", error, extra={"emitted": True})
            self._on_error(error)
        self.touch()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
