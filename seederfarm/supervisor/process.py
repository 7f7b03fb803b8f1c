"""One process of the farm: started, watched until ready, restarted, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..settings.table import TABLE
from .logs import LogFile
from .readiness import ReadyPipe

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds between an end and the next start: doubled from the first to this."""

STEADY_AFTER: Final = 60.0
"""Seconds after which a process is healthy: its back-off starts anew."""

READY_POLL: Final = 0.05
OUTPUT_GRACE: Final = 1.0
"""Seconds to read the remaining output of an ended process."""

_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

SECRET: Final = frozenset(row.name for row in TABLE if row.secret)
"""Settings whose values only the farm's own processes get."""

Ready = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A process to run. See `processes`."""

    name: str
    about: str
    """What it does, for `status`."""
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's environment."""
    secrets: bool = True
    """Whether it gets the settings that are secrets (`settings.table`): database, broker, session key."""
    stage: int = 1
    """Started after lower stages are ready, stopped before them."""
    ready: Ready | None = None
    """Polled until true; None: ready once it runs."""
    reports_ready: bool = False
    """It reports by itself when it is ready (`workers.ready`), instead of `ready`."""
    essential: bool = False
    """The farm does not count as started before this is ready."""
    stop_timeout: float = 10.0
    """Seconds to end by itself after a request to stop."""


class Child:
    """Keeps the process of a spec running until stopped."""

    def __init__(
        self,
        spec: Spec,
        log: LogFile,
        *,
        keep_fds: tuple[int, ...] = (),
        changed: Callable[[Child, str], None] = lambda child, text: None,
    ) -> None:
        self.spec = spec
        self.state = "stopped"
        """starting, ready, waiting (for a restart), stopping, stopped."""
        self.pid: int | None = None
        self.restarts = 0
        self.since = time.time()
        self.last_end = ""
        self.became_ready = asyncio.Event()
        self._log = log
        self._keep_fds = keep_fds
        self._changed = changed
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Run the process and restart it whenever it ends, until `stop`."""
        self._task = asyncio.create_task(self._keep_running(), name=f"keep {self.spec.name} running")

    async def stop(self) -> None:
        """Ask it to end, kill it after `stop_timeout`, and return when it has ended."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    def kill(self) -> None:
        """Kill it and the processes that it started, now."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def describe(self) -> dict[str, object]:
        """The process as `status --json` shows it. `since` is seconds since the epoch."""
        return {
            "name": self.spec.name,
            "about": self.spec.about,
            "state": self.state,
            "pid": self.pid,
            "restarts": self.restarts,
            "since": self.since,
            "last_end": self.last_end,
        }

    def _become(self, state: str, text: str = "") -> None:
        self.state = state
        self.since = time.time()
        if text:
            self._log.line(f"[supervisor] {text}")
        self._changed(self, text)

    async def _keep_running(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            self.last_end = await self._run_once()
            self.pid = None
            if self._stopping.is_set():
                break
            if time.monotonic() - began >= STEADY_AFTER:
                pause = FIRST_PAUSE
            self.restarts += 1
            self.became_ready.clear()
            self._become("waiting", f"{self.spec.name} {self.last_end}; starting it again in {pause:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        self._become("stopped")
        self._log.close()

    async def _run_once(self) -> str:
        """Run it once. Returns how it ended, as text."""
        with contextlib.ExitStack() as stack:
            ready_pipe = ReadyPipe() if self.spec.reports_ready else None
            if ready_pipe is not None:
                stack.callback(ready_pipe.close)
            try:
                process = await self._spawn(ready_pipe)
            except OSError as error:
                return f"could not be started: {error.strerror}"
            if ready_pipe is not None:
                ready_pipe.close_write_end()
            return await self._live(process, ready_pipe)

    async def _live(self, process: asyncio.subprocess.Process, ready_pipe: ReadyPipe | None) -> str:
        self._process, self.pid = process, process.pid
        self._become("starting")
        assert process.stdout is not None
        pump = asyncio.create_task(self._pump(process.stdout))
        watch = asyncio.create_task(self._watch_ready(ready_pipe))
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        watch.cancel()
        await asyncio.wait((watch,))
        if not ended.done():
            await self._end(process, ended)
        code = await ended
        await asyncio.wait((pump,), timeout=OUTPUT_GRACE)
        pump.cancel()
        self._process = None
        return f"ended with status {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"

    async def _spawn(self, ready_pipe: ReadyPipe | None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self.spec.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**self._environment(), **self.spec.env, **({} if ready_pipe is None else ready_pipe.env)},
            # A group of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops all.
            start_new_session=True,
            pass_fds=(*self._keep_fds, *(() if ready_pipe is None else ready_pipe.fds)),
            preexec_fn=die_with_parent(os.getpid()),
        )

    def _environment(self) -> dict[str, str]:
        if self.spec.secrets:
            return dict(os.environ)
        return {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in SECRET}

    async def _pump(self, output: asyncio.StreamReader) -> None:
        while data := await output.read(65536):
            self._log.feed(data)

    async def _watch_ready(self, ready_pipe: ReadyPipe | None) -> None:
        if ready_pipe is not None and not await ready_pipe.wait():
            return
        if self.spec.ready is not None:
            while not await self.spec.ready():  # noqa: ASYNC110  another process: nothing tells us
                await asyncio.sleep(READY_POLL)
        self.became_ready.set()
        self._become("ready")

    async def _end(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
        self._become("stopping")
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        done, _ = await asyncio.wait((ended,), timeout=self.spec.stop_timeout)
        if not done:
            self._log.line(
                f"[supervisor] {self.spec.name} did not end in {self.spec.stop_timeout:g} s: killed"
            )
            self.kill()


def die_with_parent(parent: int) -> Callable[[], None]:
    """Let the kernel end this process when `parent` dies. A child calls it between fork and exec."""

    def ask_kernel() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:  # it went before we asked
                os._exit(1)

    return ask_kernel
