"""One process of the farm, kept running: started, watched until it is ready, started again, stopped."""

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
"""Seconds between an end and the next start: doubled from the first to the longest."""

STEADY_AFTER: Final = 60.0
"""A process that ran this long is healthy: its back-off begins anew."""

READY_POLL: Final = 0.05
OUTPUT_GRACE: Final = 1.0
"""Seconds to read what a process that ended has written."""

_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

SECRET: Final = frozenset(row.name for row in TABLE if row.secret)
"""Settings whose values nobody but the farm's own processes may see."""

Ready = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What to run. See `table`."""

    name: str
    about: str
    """What it does, for `status`."""
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of the supervisor."""
    secrets: bool = True
    """Whether it is given the settings that are secrets (`settings.table`): of the database, the broker, and
    the key of sessions."""
    stage: int = 1
    """Started after lower stages are ready, stopped before they are."""
    ready: Ready | None = None
    """Asked until it says yes; None: ready once it runs."""
    tells: bool = False
    """It says itself when it is ready (`workers.ready`), in place of being asked."""
    essential: bool = False
    """The farm does not count as started before this is ready."""
    stop_within: float = 10.0
    """Seconds to end by itself when asked to."""


class Child:
    """Keeps the process of a spec running until it is told to stop."""

    def __init__(
        self,
        spec: Spec,
        log: LogFile,
        *,
        keep_fds: tuple[int, ...] = (),
        changed: Callable[[Child, str], None] = lambda child, said: None,
    ) -> None:
        self.spec = spec
        self.state = "stopped"
        """starting, ready, waiting (to be restarted), stopping, stopped."""
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
        self._task = asyncio.create_task(self._keep_running(), name=f"keep {self.spec.name} running")

    async def stop(self) -> None:
        """Ask it to end, make it end when it takes too long, and return when it has."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    def kill(self) -> None:
        """End it and what it started, now."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def describe(self) -> dict[str, object]:
        return {
            "name": self.spec.name,
            "about": self.spec.about,
            "state": self.state,
            "pid": self.pid,
            "restarts": self.restarts,
            "since": self.since,
            "last_end": self.last_end,
        }

    def _become(self, state: str, said: str = "") -> None:
        self.state = state
        self.since = time.time()
        if said:
            self._log.line(f"[supervisor] {said}")
        self._changed(self, said)

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
        """From its start to its end; returns how it ended."""
        with contextlib.ExitStack() as stack:
            told = ReadyPipe() if self.spec.tells else None
            if told is not None:
                stack.callback(told.close)
            try:
                process = await self._spawn(told)
            except OSError as error:
                return f"could not be started: {error.strerror}"
            if told is not None:
                told.handed_over()
            return await self._live(process, told)

    async def _live(self, process: asyncio.subprocess.Process, told: ReadyPipe | None) -> str:
        self._process, self.pid = process, process.pid
        self._become("starting")
        assert process.stdout is not None
        pump = asyncio.create_task(self._pump(process.stdout))
        watch = asyncio.create_task(self._watch_ready(told))
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

    async def _spawn(self, told: ReadyPipe | None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self.spec.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**self._environment(), **self.spec.env, **({} if told is None else told.env)},
            # A group of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops all.
            start_new_session=True,
            pass_fds=(*self._keep_fds, *(() if told is None else told.fds)),
            preexec_fn=die_with_parent(os.getpid()),
        )

    def _environment(self) -> dict[str, str]:
        if self.spec.secrets:
            return dict(os.environ)
        return {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in SECRET}

    async def _pump(self, output: asyncio.StreamReader) -> None:
        while data := await output.read(65536):
            self._log.feed(data)

    async def _watch_ready(self, told: ReadyPipe | None) -> None:
        if told is not None and not await told.wait():
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
        done, _ = await asyncio.wait((ended,), timeout=self.spec.stop_within)
        if not done:
            self._log.line(
                f"[supervisor] {self.spec.name} did not end in {self.spec.stop_within:g} s: killed"
            )
            self.kill()


def die_with_parent(parent: int) -> Callable[[], None]:
    """For a child, between fork and exec: the kernel ends it when `parent` is gone, however that went."""

    def ask_kernel() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:  # it went before we asked
                os._exit(1)

    return ask_kernel
