"""JSON lines to and from the parent process."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ...line_output import Output

MAX_WAITING = 20_000
"""Lines that wait for a parent that does not read. Beyond it, status lines are dropped."""

CLOSE_TIMEOUT = 2.0
"""Seconds that closing waits for the parent to read the rest."""

log = logging.getLogger(__name__)


class LineWriter:
    """Writes to standard output, and never stops the loop."""

    def __init__(self) -> None:
        self._output = Output()

    def put(self, line: str, *, droppable: bool = False) -> None:
        """Queue a line. A `droppable` one is dropped while more than MAX_WAITING wait."""
        if not (droppable and self._output.waiting > MAX_WAITING):
            self._output.put(line + "\n")

    def put_object(self, fields: dict[str, Any]) -> None:
        """Queue an object as a line of JSON."""
        self.put(json.dumps(fields, separators=(",", ":")))

    def close(self) -> None:
        """Write the remaining lines."""
        self._output.close(CLOSE_TIMEOUT)


MAX_LINE_BYTES = 256 << 20
"""Bytes of one input line. The worker sends keys in portions (`SYNC_PORTION`), far below that."""


def lines_of(descriptor: int) -> Iterator[bytes]:
    """The lines of a file descriptor, without their ends. Raises ValueError for one above MAX_LINE_BYTES."""
    # Not through `sys.stdin`: its lock, held while reading, would stop the interpreter from ending.
    parts: list[bytes] = []
    size = 0
    while chunk := os.read(descriptor, 1 << 20):
        *lines, rest = chunk.split(b"\n")
        if lines:
            yield b"".join((*parts, lines[0]))
            yield from lines[1:]
            parts, size = [], 0
        parts.append(rest)
        size += len(rest)
        if size > MAX_LINE_BYTES:
            raise ValueError(f"a line of more than {MAX_LINE_BYTES >> 20} MiB")


def read_lines(on_object: Callable[[dict[str, Any]], None], on_end: Callable[[], None]) -> None:
    """Read standard input in a thread of its own, until it ends. Lines that are not JSON objects are
    logged."""

    def run() -> None:
        try:
            for line in lines_of(sys.stdin.fileno()):
                try:
                    fields = json.loads(line)
                except (ValueError, RecursionError):
                    fields = None
                if isinstance(fields, dict):
                    on_object(fields)
                else:
                    log.error("not a command: %.100r", line)
        except (ValueError, OSError) as error:
            log.error("standard input cannot be read any further: %s", error)
        finally:
            on_end()

    threading.Thread(target=run, name="lines-in", daemon=True).start()
