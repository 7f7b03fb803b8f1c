"""The output of `seed` on a terminal: a live screen."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, cast

from rich.console import Console
from rich.live import Live
from rich.text import Text

from hypercore.keys import short_key
from hypercore.printable import visible
from workers.engine.engine import Engine
from workers.engine.model.events import Event, NetworkChanged, Problem, Published, Ready
from workers.line_output import Output

from ..common.json_lines import MAX_WAITING, OutputFile
from .live import screen
from .plain import REACHED, mirror_lines, published

FRAME_INTERVAL = 0.25
"""Seconds between two frames of the live view, at least."""

FRAME_SHARE = 0.05
"""Share of the time that drawing may take: with thousands of keys, frames are rarer."""


class LiveView:
    """The output for people at a terminal."""

    def __init__(self, labels: Mapping[bytes, str], data: Path) -> None:
        self._labels = labels
        self._data = str(data)
        self._output = Output(max_waiting=MAX_WAITING)
        # The stream is text for rich; a terminal that is paused must not stop the loop
        self._console = Console(file=cast(IO[str], OutputFile(self._output, sys.stdout)))
        self._live = Live(
            Text("joining the network…", style="dim"),
            console=self._console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)
        self.shows_problems = True
        self._engine: Engine | None = None

    def put(self, event: Event) -> None:
        if isinstance(event, Problem):
            about = "" if event.key is None else (self._labels.get(event.key) or short_key(event.key)) + " "
            self._console.print(Text(visible(f"{about}{event.message}"), style="red"))
        elif isinstance(event, Ready) and event.blind_peer is not None:
            for line in mirror_lines(event.blind_peer):
                self._console.print(Text(line), soft_wrap=True)
        elif isinstance(event, Published):
            self._console.print(Text(visible(published(event))))
        elif isinstance(event, NetworkChanged) and event.state == "reached":
            self._console.print(Text(REACHED))

    def announce(self, line: str) -> None:
        self._console.print(Text(visible(line), style="bold"))

    def refresh(self, engine: Engine) -> float:
        self._engine = engine
        if self._output.waiting:  # the terminal is slow, or paused: skip this frame
            return FRAME_INTERVAL
        started = time.monotonic()
        size = self._console.size
        self._live.update(
            screen(
                engine.status(cold=size.height),  # more would not fit
                self._labels,
                width=size.width,
                height=size.height,
                data=self._data,
            ),
            refresh=True,
        )
        return max(FRAME_INTERVAL, (time.monotonic() - started) / FRAME_SHARE)

    def write_log(self, line: str) -> None:
        self._console.print(Text(line, style="dim"))

    def leaving(self) -> None:
        if self._engine is not None:
            self.refresh(self._engine)
        self._live.stop()
        self._console.print(Text("Leaving the swarm… (Ctrl-C again stops at once)", style="dim"))

    @property
    def broken(self) -> bool:
        return self._output.broken.is_set()

    @property
    def output_error(self) -> OSError | None:
        return self._output.error

    def close(self) -> None:
        self._live.stop()
        self._output.close()
