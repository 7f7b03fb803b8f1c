"""`seederfarm worker run` as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import psutil

from . import evidence
from .seed_process import environment
from .waiting import eventually


class WorkerProcess:
    """Its log is in `log`; engines are its children."""

    def __init__(
        self,
        data: Path,
        *arguments: str,
        bootstrap: Sequence[str] = (),
        heartbeat: float = 1.0,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.data = data
        self.log = data.with_name(data.name + ".log")
        env = environment() | {
            "SEEDERFARM_HEARTBEAT": str(heartbeat),
            "SEEDERFARM_WORKER_SAMPLE": "1s",
            "SEEDERFARM_BOOTSTRAP": ",".join(bootstrap),
            **variables,
        }
        command = [
            sys.executable,
            "-c",
            "from seederfarm.cli.worker.run import run; run()",
            "--data",
            str(data),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--name", "testing", *arguments],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def engines(self) -> list[int]:
        """Process ids of the engines that run."""
        try:
            children = psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []
        return [
            child.pid
            for child in children
            if child.status() != psutil.STATUS_ZOMBIE and "workers.engine.process.main" in child.cmdline()
        ]

    def wait_engines(self, count: int = 1) -> list[int]:
        eventually(lambda: len(self.engines) == count, timeout=20, what=f"{count} engines\n{self.tail()}")
        return self.engines

    def stop(self, timeout: float = 25.0) -> int:
        """As `kill` does. Returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def tail(self) -> str:
        status = self.process.poll()
        ended = "" if status is None else f"\n(ended with {status})"
        return evidence.tail(self.log) + ended

    def dispose(self) -> None:
        if self.process.poll() is None:
            engines = self.engines
            self.kill()
            for pid in engines:
                eventually(lambda pid=pid: gone(pid), timeout=20, what="the end of an engine")


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def alive(pid: int) -> bool:
    return not gone(pid) and os.getpgid(pid) > 0
