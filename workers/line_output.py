"""Output that is written by a thread of its own: a reader that is slow, or has stopped reading (a pager, a
paused terminal, a busy parent), must not stop a peer."""

from __future__ import annotations

import errno
import logging
import queue
import sys
import threading
from collections.abc import Callable
from typing import TextIO

FLUSH_TIMEOUT = 5.0
"""Seconds that closing waits for the reader to take the rest."""

JOINED = 16
"""Waiting pieces that are written at once, at most. Ours."""

_GONE = (errno.EPIPE, errno.EBADF, errno.EIO)
"""Errors after which writing is impossible. Others (a full disk) may pass."""

log = logging.getLogger(__name__)


class Output:
    """Writes text to a stream (standard output), in order. `put` never blocks."""

    def __init__(
        self, out: TextIO | None = None, *, strict: bool = False, max_waiting: int | None = None
    ) -> None:
        """`strict`: nothing is written after an error, since a reader could not know what is missing.
        `max_waiting`: waiting pieces from which on all are dropped, which the log reports; None: no limit."""
        self._send = _sender(out or sys.stdout)
        self._strict = strict
        self._max_waiting = max_waiting
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._dropping = False
        self.broken = threading.Event()
        """Set when nothing can be written any more."""
        self.error: OSError | None = None
        """The last write error, or None."""
        self._thread = threading.Thread(target=self._write, name="output", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Number of pieces not yet written."""
        return self._queue.qsize()

    def put(self, text: str) -> None:
        """Queue text for the thread that writes it. Dropped when `max_waiting` pieces wait, or nothing can be
        written any more."""
        if self.broken.is_set():
            return
        if self._max_waiting is not None and self.waiting >= self._max_waiting:
            if not self._dropping:
                log.error("the output is not read: %d lines wait, more are dropped", self.waiting)
            self._dropping = True
            return
        self._dropping = False
        self._queue.put(text)

    def close(self, timeout: float = FLUSH_TIMEOUT) -> None:
        """Returns when all is written, or after `timeout` seconds."""
        self._queue.put(None)
        self._thread.join(timeout)

    def _write(self) -> None:
        ended = False
        while not ended and (text := self._queue.get()) is not None:
            pieces = [text]
            while len(pieces) < JOINED and not self._queue.empty():
                if (text := self._queue.get()) is None:
                    ended = True
                    break
                pieces.append(text)
            try:
                self._send("".join(pieces))
            except OSError as error:
                self.error = error
                if self._strict or error.errno in _GONE or isinstance(error, BrokenPipeError):
                    self.broken.set()
                    return
            except ValueError:  # it is closed
                self.broken.set()
                return


def _sender(out: TextIO) -> Callable[[str], object]:
    """A function that writes text at once, below the buffer of a real stream: a thread that waits for a
    reader would hold the buffer's lock and keep the interpreter from exiting."""
    raw = getattr(getattr(out, "buffer", None), "raw", None)
    if raw is None:

        def write(text: str) -> None:
            out.write(text)
            out.flush()

        return write
    out.flush()
    encoding = getattr(out, "real_encoding", out.encoding)

    def write_raw(text: str) -> None:
        rest = memoryview(text.encode(encoding, "backslashreplace"))
        while rest:
            rest = rest[raw.write(rest) :]

    return write_raw
