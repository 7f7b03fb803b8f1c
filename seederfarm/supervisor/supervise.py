"""Starts every process of the table in order, keeps them running, and stops them in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..settings.table import FarmSettings
from . import processes
from .home import RunFiles
from .logs import LogFile, read
from .process import Child, Spec, die_with_parent

START_TIMEOUT: Final = 60.0
"""Seconds for one essential process to become ready; and for all the others."""

TRIES: Final = 3
"""Ends of an essential process before it was ready after which the start fails."""

LATE_POLL: Final = 0.05
"""Seconds between two looks at the processes that may become ready after the essential ones."""

LAST_LINES: Final = 12
"""Lines of a log that are shown when a start fails."""

Emit = Callable[[dict[str, Any]], None]
"""Takes what happens: `{"event": "admin" | "pages" | "ready" | "process", …}`."""


class StartFailed(Exception):
    """The farm did not start; everything that ran was stopped."""


class Supervisor:
    """One `up`. `run` returns when it is asked to stop."""

    def __init__(self, farm: FarmSettings, files: RunFiles, specs: Sequence[Spec], emit: Emit) -> None:
        self._farm = farm
        self._files = files
        self._emit = emit
        self._stop = asyncio.Event()
        self._started_at = time.time()
        self._ready = False
        """Whether all processes have been ready, or have had the time to be."""
        self._log = LogFile(files.logs / "supervisor.log")
        self.children = [
            Child(
                spec,
                LogFile(files.logs / f"{spec.name}.log"),
                keep_fds=(files.children_lock.fd,) if files.children_lock.fd >= 0 else (),
                changed=self._changed,
            )
            for spec in specs
        ]

    def ask_to_stop(self) -> None:
        """First call: stop in order. Second call: stop now."""
        if self._stop.is_set():
            for child in self.children:
                child.kill()
        self._stop.set()

    async def run(self) -> None:
        """Start everything and run until asked to stop. Raises StartFailed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.ask_to_stop)
        stop = asyncio.create_task(self._stop.wait())
        start = asyncio.create_task(self._start())
        try:
            await asyncio.wait((stop, start), return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                await start
                await stop
        finally:
            start.cancel()
            with contextlib.suppress(asyncio.CancelledError, StartFailed):
                await start
            stop.cancel()
            await self._stop_all()

    async def _start(self) -> None:
        self._log.line(f"starting {', '.join(child.spec.name for child in self.children)}")
        check_ports(self._farm, [child.spec for child in self.children])
        first, *later = self._stages()
        if first[0].spec.stage > 0:  # no broker of our own
            first, later = [], [first, *later]
        broker = asyncio.create_task(self._start_stage(first))
        try:
            await self._prepare()
            await broker
        finally:
            broker.cancel()
        for stage in later:
            await self._start_stage(stage)
        address = processes.address(self._farm)
        starting = [child.spec.name for child in self.children if not child.became_ready.is_set()]
        self._emit({"event": "pages", "address": address, "starting": starting})
        not_ready = await self._wait_for_all()
        self._ready = True
        self._write_state()
        self._log.line(
            f"not ready: {', '.join(child.spec.name for child in not_ready)}"
            if not_ready
            else "all processes are ready"
        )
        self._emit(
            {
                "event": "ready",
                "address": address,
                "home": str(self._farm.home),
                "seconds": round(time.time() - self._started_at, 2),
                "processes": [child.spec.name for child in self.children],
                "not_ready": [{"name": child.spec.name, "why": child.last_end} for child in not_ready],
            }
        )

    async def _wait_for_all(self) -> list[Child]:
        """Returns the processes that are not ready although they had their time, or ended again and again."""
        until = time.monotonic() + START_TIMEOUT
        while True:
            missing = [child for child in self.children if not child.became_ready.is_set()]
            waiting = [child for child in missing if child.restarts < TRIES]
            if not waiting or time.monotonic() > until:
                return missing
            await asyncio.sleep(LATE_POLL)

    def _stages(self) -> list[list[Child]]:
        numbers = sorted({child.spec.stage for child in self.children})
        return [[child for child in self.children if child.spec.stage == number] for number in numbers]

    async def _start_stage(self, children: Sequence[Child]) -> None:
        for child in children:
            child.start()
        for child in children:
            if child.spec.essential:
                await self._wait_ready(child)

    async def _wait_ready(self, child: Child) -> None:
        until = time.monotonic() + START_TIMEOUT
        while not child.became_ready.is_set():
            if child.restarts >= TRIES or time.monotonic() > until:
                why = child.last_end or f"was not ready within {START_TIMEOUT:g} s"
                raise StartFailed(f"{child.spec.name} {why}; the end of its log:\n{self._tail(child)}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.became_ready.wait(), 0.2)

    def _tail(self, child: Child) -> str:
        lines = deque(read(self._files.logs, [child.spec.name]), maxlen=LAST_LINES)
        return "\n".join(f"  {line.text}" for line in lines)

    async def _prepare(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "seederfarm.supervisor.prepare"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=die_with_parent(os.getpid()),
        )
        try:
            out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        text = err.decode(errors="replace").strip()
        if text:
            for line in text.splitlines():
                self._log.line(f"prepare: {line}")
        if process.returncode != 0:
            raise StartFailed(text or f"preparing the database ended with status {process.returncode}")
        done = json.loads(out.splitlines()[-1])
        if done["migrated"]:
            self._log.line(f"migrated the database: {len(done['migrated'])} steps")
        if done["admin"] is not None:
            self._log.line(f"made the account {done['admin']['username']}")
            self._emit({"event": "admin", **done["admin"]})

    async def _stop_all(self) -> None:
        self._log.line("stopping")
        for stage in reversed(self._stages()):
            await asyncio.gather(*(child.stop() for child in stage))
        self._log.line("stopped")
        self._log.close()
        self._files.clear_state()

    def _changed(self, child: Child, text: str) -> None:
        self._write_state()
        if text:
            self._log.line(text)
            self._emit({"event": "process", "name": child.spec.name, "state": child.state, "text": text})

    def _write_state(self) -> None:
        with contextlib.suppress(OSError):  # a full disk stops no process
            self._files.write_state(
                {
                    "pid": os.getpid(),
                    "ready": self._ready,
                    "stopping": self._stop.is_set(),
                    "started_at": self._started_at,
                    "address": processes.address(self._farm),
                    "processes": [child.describe() for child in self.children],
                }
            )


def check_ports(farm: FarmSettings, specs: Sequence[Spec]) -> None:
    """Check that the ports are free. Raises StartFailed for a port in use, at once, not after restarts."""
    wanted = [("SEEDERFARM_WEB_PORT", farm.web_host, farm.web_port)]
    if any(spec.name == "flower" for spec in specs):
        wanted.append(("SEEDERFARM_FLOWER_PORT", farm.flower_host, farm.flower_port))
    for name, host, port in wanted:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise StartFailed(
                    f"cannot listen on {host}:{port} ({error.strerror}): something else may run there; "
                    f"{name} names another port"
                ) from None


def supervise(farm: FarmSettings, emit: Emit) -> None:
    """Run `up`, from taking the home to releasing it.

    Raises AlreadyRunning, NoRedis, StartFailed, OSError.
    """
    os.environ["SEEDERFARM_HOME"] = str(farm.home)
    os.environ["DJANGO_SETTINGS_MODULE"] = "seederfarm.settings.base"
    os.environ["PYTHONUNBUFFERED"] = "1"
    files = RunFiles(farm.home)
    files.make()
    files.take()
    try:
        asyncio.run(_run(farm, files, emit))
    finally:
        files.give_up()


async def _run(farm: FarmSettings, files: RunFiles, emit: Emit) -> None:
    await Supervisor(farm, files, processes.specs(farm, files), emit).run()
