"""Output of the long-running commands: while too much waits for the reader, progress lines are dropped (the
next one has the same numbers), beyond that all lines, which the log reports.
"""

from __future__ import annotations

import io
from typing import TextIO

from workers.engine.model.events import Event, Progress, to_json
from workers.line_output import Output

MAX_WAITING_PROGRESS = 1_000
"""Waiting lines from which on progress events are dropped."""

MAX_WAITING = 100_000
"""Waiting lines from which on all are dropped: about 30 MB."""


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
        self.output = Output(out, strict=True, max_waiting=MAX_WAITING)
        self.broken = self.output.broken

    def put(self, event: Event) -> None:
        """Never blocks."""
        if self.output.waiting < MAX_WAITING_PROGRESS or not isinstance(event, Progress):
            self.output.put(to_json(event) + "\n")

    def close(self) -> None:
        """Write what waits, as long as the reader takes it."""
        self.output.close()
