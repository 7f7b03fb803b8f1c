"""JSON lines to and from the process that started us."""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

MAX_WAITING = 20_000
"""Lines that wait for a parent that does not read. Beyond it, those that only tell news are dropped."""

log = logging.getLogger(__name__)


class LineWriter:
    """Writes to standard output from a thread of its own: a slow reader never stops the loop."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="lines-out", daemon=True)
        self._thread.start()

    def put(self, line: str, *, droppable: bool = False) -> None:
        if not (droppable and self._lines.qsize() > MAX_WAITING):
            self._lines.put(line)

    def put_object(self, fields: dict[str, Any]) -> None:
        self.put(json.dumps(fields, separators=(",", ":")))

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits."""
        self._lines.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        out = sys.stdout
        try:
            while (line := self._lines.get()) is not None:
                out.write(line + "\n")
                if self._lines.empty():
                    out.flush()
            out.flush()
        except (BrokenPipeError, ValueError):
            pass  # the parent has gone, and standard input ends, too


def _lines_of(descriptor: int) -> Iterator[bytes]:
    # Not through `sys.stdin`: its lock, held while reading, would stop the interpreter from ending.
    rest = b""
    while chunk := os.read(descriptor, 1 << 20):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def read_lines(on_object: Callable[[dict[str, Any]], None], on_end: Callable[[], None]) -> None:
    """Read standard input in a thread of its own, until it ends. What is no JSON object is logged."""

    def run() -> None:
        for line in _lines_of(sys.stdin.fileno()):
            try:
                fields = json.loads(line)
            except ValueError:
                fields = None
            if isinstance(fields, dict):
                on_object(fields)
            else:
                log.error("not a command: %.100r", line)
        on_end()

    threading.Thread(target=run, name="lines-in", daemon=True).start()
