"""Output of the long-running commands, written by a thread of its own.

A reader that is slow or has stopped reading (a pager, a paused terminal) must not stop the peer: while too
much waits, progress lines are dropped (the next one has the same numbers), beyond that all lines, which the
log reports.
"""

from __future__ import annotations

import errno
import io
import logging
import queue
import sys
import threading
from collections.abc import Callable
from typing import TextIO

from workers.engine.model.events import Event, Progress, to_json

MAX_WAITING_PROGRESS = 1_000
"""Waiting lines from which on progress events are dropped."""

MAX_WAITING = 100_000
"""Waiting lines from which on all are dropped: about 30 MB."""

FLUSH_TIMEOUT = 5.0
"""Seconds that closing waits for the reader to take the rest."""

_GONE = (errno.EPIPE, errno.EBADF, errno.EIO)
"""Errors after which writing is impossible. Others (a full disk) may pass."""

log = logging.getLogger(__name__)


class Output:
    """Writes text to a stream (standard output), in order. `put` never blocks."""

    def __init__(self, out: TextIO | None = None, *, strict: bool = False) -> None:
        """`strict`: nothing is written after an error, since a reader could not know what is missing."""
        self._send = _sender(out or sys.stdout)
        self._strict = strict
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
        if self.waiting >= MAX_WAITING:
            if not self._dropping:
                log.error("the output is not read: %d lines wait, more are dropped", self.waiting)
            self._dropping = True
            return
        self._dropping = False
        self._queue.put(text)

    def close(self) -> None:
        """Returns when all is written, or after FLUSH_TIMEOUT."""
        self._queue.put(None)
        self._thread.join(FLUSH_TIMEOUT)

    def _write(self) -> None:
        while (text := self._queue.get()) is not None:
            try:
                self._send(text)
            except OSError as error:
                self.error = error
                if self._strict or error.errno in _GONE or isinstance(error, BrokenPipeError):
                    self.broken.set()
                    return
            except ValueError:  # it is closed
                self.broken.set()
                return


class OutputFile(io.TextIOBase):
    """An `Output` as a file, for libraries that draw on terminals."""

    def __init__(self, output: Output, like: TextIO) -> None:
        self._output = output
        self._like = like

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._like.encoding

    def write(self, text: str) -> int:
        self._output.put(text)
        return len(text)

    def isatty(self) -> bool:
        return self._like.isatty()

    def fileno(self) -> int:
        return self._like.fileno()


class JsonLines:
    """Prints events as JSON lines. `broken` is set when the reader has gone."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.output = Output(out, strict=True)
        self.broken = self.output.broken

    def put(self, event: Event) -> None:
        """Never blocks."""
        if self.output.waiting < MAX_WAITING_PROGRESS or not isinstance(event, Progress):
            self.output.put(to_json(event) + "\n")

    def close(self) -> None:
        self.output.close()


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
