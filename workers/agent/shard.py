"""One engine process: started, sent commands, restarted when it ends, stopped.

It is independent of the broker. The thread that starts the child lives as long as the child does: the kernel
signals a child when the thread that created it ends.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .environment import EngineUser, engine_environment
from .settings import WorkerSettings

FIRST_DELAY = 0.5
MAX_DELAY = 60.0
"""Seconds until an ended child is restarted: doubled each time, from the first on."""

STEADY = 60.0
"""Seconds after which a child counts as stable, and the next delay is the first one again."""

STOP_TIMEOUT = 12.0
"""Seconds for a child to leave the network and flush."""

SILENCE_TIMEOUT = 60.0
"""Seconds without a line, of which there is one every 2 s, after which a child counts as hung."""

START_TIMEOUT = 600.0
"""Seconds for its first line: a damaged or very large store is scanned first."""

DUMP_TIMEOUT = 5.0
"""Seconds for a hung child to write the stacks of its threads before it is killed."""

WATCH_INTERVAL = 1.0

STALL_SECONDS = 60.0
"""Seconds over which the longest stall is kept for metrics: longer than a scrape interval."""

MAX_STALLS = 64
"""Stalls kept; there is one line every 2 s."""

log = logging.getLogger(__name__)


class Shard:
    """`on_start` and `on_line` are called from this shard's thread, `on_end` with the exit status.

    `on_hung` is called from a watching thread, with the seconds of silence, before the child is killed.
    """

    def __init__(
        self,
        index: int,
        settings: WorkerSettings,
        *,
        on_start: Callable[[Shard], None],
        on_line: Callable[[Shard, dict[str, Any]], None],
        on_end: Callable[[Shard, int], None],
        on_hung: Callable[[Shard, float], None] = lambda shard, silence: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.index = index
        self.restarts = 0
        self.hangs = 0
        """How often it was killed for silence."""
        self._facts: dict[str, Any] = {}
        self._stored_bytes = 0
        self._stalls: deque[tuple[float, float]] = deque(maxlen=MAX_STALLS)
        self._clock = clock
        self._heard_at = clock()
        """Time of the last line of any child."""
        self._watched_from = clock()
        """The same, or the start of the current child if later."""
        self._allowed = START_TIMEOUT
        self.directory = settings.data / f"engine-{index}"
        self._command = _command(index, settings, self.directory)
        self._user = EngineUser.named(settings.engine_user)
        self._on_start = on_start
        self._on_line = on_line
        self._on_end = on_end
        self._on_hung = on_hung
        self._process: subprocess.Popen[bytes] | None = None
        self._writing = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"engine-{index}", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name=f"watch-{index}", daemon=True)

    @property
    def facts(self) -> dict[str, Any]:
        """The latest `engine` line; empty without a child, or while it is silent for too long."""
        return {} if self.hung else self._facts

    @property
    def stored_bytes(self) -> int:
        """Bytes stored at its last report, which stay whether or not it runs."""
        return self._stored_bytes

    @property
    def stall(self) -> float:
        """Longest stall of its event loop within a minute, in seconds. A silent engine's lasts still."""
        since = self._clock() - STALL_SECONDS
        ended = max((stall for at, stall in tuple(self._stalls) if at >= since), default=0.0)
        return max(ended, self._clock() - self._heard_at) if self.hung else ended

    @property
    def silence(self) -> float:
        """Seconds since the last line, across restarts."""
        return self._clock() - self._heard_at

    @property
    def hung(self) -> bool:
        """Whether a child runs and is silent."""
        return self._clock() - self._watched_from > self._allowed

    @property
    def pid(self) -> int | None:
        """Process id of its engine, or None while there is none."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    @property
    def running(self) -> bool:
        """Whether there is an engine now."""
        return self.pid is not None

    def start(self) -> None:
        """Start the engine. Raises OSError if its directory cannot be given to its user."""
        self._user.own(self.directory)
        self._thread.start()
        self._watcher.start()

    def send(self, command: dict[str, Any]) -> bool:
        """Send a command. Returns whether a child runs; a new child is sent everything at its start."""
        with self._writing:
            process = self._process
            if process is None or process.stdin is None:
                return False
            try:
                process.stdin.write(json.dumps(command, separators=(",", ":")).encode() + b"\n")
                process.stdin.flush()
            except (OSError, ValueError):
                return False
            return True

    def stop(self) -> None:
        """Ask the child to end, and kill it after STOP_TIMEOUT. Safe to call twice."""
        self._stopping.set()
        self.send({"cmd": "stop"})
        process = self._process
        if process is not None:
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                log.warning(
                    "engine %d does not end; it is killed. What it acknowledged is on disk", self.index
                )
                process.kill()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT)

    def _run(self) -> None:
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            started = time.monotonic()
            status = self._live()
            self._facts = {}
            if self._stopping.is_set():
                return
            if time.monotonic() - started > STEADY:
                delay = FIRST_DELAY
            self.restarts += 1
            log.error(
                "engine %d ended with status %d; it is started again in %.1f s", self.index, status, delay
            )
            self._on_end(self, status)
            self._stopping.wait(delay)
            delay = min(2 * delay, MAX_DELAY)

    def _live(self) -> int:
        """One child from start to end. Returns its exit status."""
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=engine_environment(os.environ),
                start_new_session=True,  # a Ctrl-C is for us; we tell it
                **self._user.options(),
            )
        except (OSError, subprocess.SubprocessError) as error:
            log.error("cannot start engine %d: %s", self.index, error)
            return -1
        self._watched_from, self._allowed = self._clock(), START_TIMEOUT
        self._process = process
        if self._stopping.is_set():
            process.terminate()
        self._on_start(self)
        assert process.stdout is not None
        for line in process.stdout:
            try:
                fields = json.loads(line)
            except ValueError:
                log.error("engine %d wrote %.200r", self.index, line)
                continue
            self._heard_at = self._watched_from = self._clock()
            self._allowed = SILENCE_TIMEOUT
            if fields.get("event") == "engine":
                self._facts, self._stored_bytes = fields, fields["stored_bytes"]
                self._stalls.append((self._heard_at, fields.get("max_stall_ms", 0.0) / 1000))
            try:
                self._on_line(self, fields)
            except Exception:
                log.exception("a line of engine %d could not be dealt with", self.index)
        status = process.wait()
        with self._writing:
            self._process = None
            for pipe in (process.stdin, process.stdout):
                try:
                    if pipe is not None:
                        pipe.close()
                except OSError:
                    pass
        return status

    # --- a child that hangs

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_INTERVAL):
            process = self._process
            if process is None or process.poll() is not None or not self.hung:
                continue
            silence = self._clock() - self._watched_from
            self.hangs += 1
            log.error(
                "engine %d has sent nothing for %.0f s; where it is follows, then it is started again",
                self.index,
                silence,
            )
            try:
                self._on_hung(self, silence)
            except Exception:
                log.exception("a hung engine could not be reported")
            self._end_hung(process)

    def _end_hung(self, process: subprocess.Popen[bytes]) -> None:
        """SIGABRT makes it write the stack of each thread to our log (faulthandler)."""
        for number in (signal.SIGABRT, signal.SIGCONT):  # one that was stopped gets no other signal
            process.send_signal(number)
        try:
            process.wait(DUMP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
        # Where even that does not end it (a disk that hangs), this is tried again after the next silence.
        self._watched_from = self._clock()


def _command(index: int, settings: WorkerSettings, directory: Path) -> list[str]:
    command = [sys.executable, "-m", "workers.engine.process.main", "--data", str(directory)]
    command += ["--parent", str(os.getpid()), "--host", settings.host]
    command += ["--port", str(settings.port + index if settings.port else 0)]
    for address in settings.bootstrap:
        command += ["--bootstrap", str(address)]
    if settings.relay is not None:
        command += ["--relay", settings.relay.hex()]
    if settings.blind_peer is not None and index == 0:
        command += ["--blind-peer", settings.blind_peer.to_text()]
    return command
