"""Lines on stdout for programs, written by a thread of their own.

A reader that is slow, or has stopped reading, must not stop the peer: while too much waits, progress is left
out (the next one says the same), and in the end everything is, and the log says so.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
from typing import TextIO

from workers.engine.events import Event, Progress, to_json

MAX_WAITING_PROGRESS = 1_000
"""Lines that may wait before progress events are left out."""

MAX_WAITING = 100_000
"""Lines that may wait before all are left out: about 30 MB."""

FLUSH_TIMEOUT = 5.0
"""Seconds that closing waits for the reader to take what is left."""

log = logging.getLogger(__name__)


class JsonLines:
    """Prints events as JSON lines, each flushed. `broken` is set when nobody reads any more."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._dropping = False
        self.broken = threading.Event()
        self._thread = threading.Thread(target=self._write, name="json-lines", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Never blocks."""
        waiting = self._queue.qsize()
        if waiting >= MAX_WAITING_PROGRESS and isinstance(event, Progress):
            return
        if waiting >= MAX_WAITING:
            if not self._dropping:
                log.error("nobody reads the JSON lines: %d wait, more are dropped", waiting)
            self._dropping = True
            return
        self._dropping = False
        self._queue.put(to_json(event))

    def close(self) -> None:
        """Returns when all is written, or the reader took too long."""
        self._queue.put(None)
        self._thread.join(FLUSH_TIMEOUT)

    def _write(self) -> None:
        while (line := self._queue.get()) is not None:
            try:
                self._out.write(line + "\n")
                self._out.flush()
            except (OSError, ValueError):
                self.broken.set()
                return
