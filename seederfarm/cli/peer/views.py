"""The outputs of `seed`: JSON lines, plain lines, a live screen, or none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from hypercore.printable import visible
from workers.engine.engine import Engine
from workers.engine.model.events import Event, Problem, Stats
from workers.engine.process.stalls import StallMeter
from workers.line_output import Output

from ..common import streams
from ..common.failures import Failure
from ..common.json_lines import MAX_WAITING, JsonLines
from .plain import PlainLines

STATS_INTERVAL = 5.0
"""Seconds between two `stats` lines."""

Labels = Mapping[bytes, str]


class View(Protocol):
    """Output of `seed` and `publish`."""

    def put(self, event: Event) -> None:
        """Show an event, or what follows from it."""

    def announce(self, line: str) -> None:
        """Print a line before anything else happens."""

    def refresh(self, engine: Engine) -> float:
        """Called repeatedly; returns the seconds until the next call."""

    @property
    def broken(self) -> bool:
        """Whether output is closed, so that continuing is pointless."""

    @property
    def output_error(self) -> OSError | None:
        """The last error of writing output, or None."""

    @property
    def shows_problems(self) -> bool:
        """Whether `error` events are shown where log lines go, so that no line need repeat one."""

    @property
    def write_log(self) -> Callable[[str], None] | None:
        """The function that writes log lines; None for stderr."""

    def leaving(self) -> None:
        """The command was asked to stop, and does."""

    def close(self) -> None:
        """Show what is left, and restore the terminal."""


class JsonView:
    """The output for programs."""

    write_log = None
    shows_problems = False

    def __init__(self) -> None:
        self._lines = JsonLines()
        self._meter: StallMeter | None = None
        self._stats_at = 0.0

    def put(self, event: Event) -> None:
        self._lines.put(event)

    def announce(self, line: str) -> None:
        pass

    def refresh(self, engine: Engine) -> float:
        now = time.monotonic()
        if self._meter is None:
            self._meter = StallMeter()
            self._stats_at = now + STATS_INTERVAL  # `ready` is the first line
        if now >= self._stats_at:
            self._stats_at = now + STATS_INTERVAL
            stalls = self._meter.take()
            self.put(
                Stats(connections=engine.connections, max_stall_ms=stalls.stall, max_busy_ms=stalls.busy)
            )
        return 1.0

    @property
    def broken(self) -> bool:
        return self._lines.broken.is_set()

    @property
    def output_error(self) -> OSError | None:
        return self._lines.output.error

    def leaving(self) -> None:
        pass

    def close(self) -> None:
        self._lines.close()


class PlainView:
    """The output for logs."""

    write_log = None

    def __init__(self, labels: Labels) -> None:
        self._output = Output(max_waiting=MAX_WAITING)
        self._plain = PlainLines(labels, self._write)
        self.shows_problems = streams.are_one()

    def put(self, event: Event) -> None:
        self._plain.put(event, time.monotonic())

    def announce(self, line: str) -> None:
        self._write(line)

    def refresh(self, engine: Engine) -> float:
        return 1.0

    def leaving(self) -> None:
        self._write("leaving the swarm")

    @property
    def broken(self) -> bool:
        return self._output.broken.is_set()

    @property
    def output_error(self) -> OSError | None:
        return self._output.error

    def close(self) -> None:
        self._output.close()

    def _write(self, line: str) -> None:
        self._output.put(visible(line) + "\n")


class QuietView:
    """Prints problems only."""

    write_log = None
    shows_problems = True
    broken = False
    output_error = None

    def __init__(self, labels: Labels) -> None:
        self._plain = PlainLines(labels, lambda line: print(visible(line), file=sys.stderr))  # noqa: T201

    def put(self, event: Event) -> None:
        if isinstance(event, Problem):
            self._plain.put(event, 0.0)

    def announce(self, line: str) -> None:
        pass

    def refresh(self, engine: Engine) -> float:
        return 1.0

    def leaving(self) -> None:
        pass

    def close(self) -> None:
        pass


def check_output(view: View) -> None:
    """At the end of a command: raises Failure if output was lost."""
    error = view.output_error
    if view.broken and (error is None or isinstance(error, BrokenPipeError)):
        raise Failure("stopped: the reader of the output has gone")
    if error is not None:
        effect = "stopped" if view.broken else "some lines are lost"
        raise Failure(f"{effect}: {streams.STDOUT}: {error.strerror}")


def choose_view(labels: Labels, data: Path, *, as_json: bool, quiet: bool) -> View:
    """The output for these options. Raises Failure without a usable standard output."""
    if quiet and not as_json:
        return QuietView(labels)
    if streams.stdout_is_closed():
        raise Failure(f"{streams.STDOUT} is closed (-q shows errors alone, > /dev/null throws lines away)")
    if as_json:
        return JsonView()
    if not sys.stdout.isatty():
        return PlainView(labels)
    from .live_view import LiveView  # a tenth of the start is the library that draws it

    return LiveView(labels, data)
