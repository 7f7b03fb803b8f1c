"""A farm of its own for a test: a temporary home, free ports, stopped by pid whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .evidence import dump_threads, tail
from .ports import free_port

UP_WITHIN = 180.0
"""Seconds for a command to end, on a machine that is busy with other tests."""


class FarmHome:
    """Runs `seederfarm` commands in a home, and the farm in it when asked to."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        unset = ("SEEDERFARM_", "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
        self.env |= {
            "SEEDERFARM_HOME": str(home),
            "SEEDERFARM_WEB_PORT": str(free_port()),
            "SEEDERFARM_FLOWER_PORT": str(free_port()),
            # no test speaks to the public DHT
            "SEEDERFARM_BOOTSTRAP": f"127.0.0.1:{free_port()}",
            **settings,
        }

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.env['SEEDERFARM_WEB_PORT']}/"

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "seederfarm", *arguments],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "seederfarm", *arguments],
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=UP_WITHIN,
            check=False,
        )

    def lines(self, *arguments: str, stdin: str = "") -> list[dict[str, Any]]:
        """The JSON lines of a command that must succeed."""
        done = self.run(*arguments, "--json", stdin=stdin)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def start(self) -> list[dict[str, Any]]:
        """`up -d`; returns what it printed."""
        return self.lines("up", "-d")

    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.home / "run" / "up.json").read_text()))

    def pids(self) -> dict[str, int]:
        """Processes of the farm by name, the supervisor among them."""
        state = self.state()
        found = {process["name"]: process["pid"] for process in state["processes"] if process["pid"]}
        return {"supervisor": state["pid"], **found}

    def logs(self) -> str:
        """The end of every log, for a failure."""
        parts = []
        for path in sorted((self.home / "logs").glob("*.log")):
            parts.append(f"--- {path.name}\n{path.read_text()[-2000:]}")
        return "\n".join(parts)

    def evidence(self) -> str:
        """The same, with the threads of control and the worker."""
        pids = self.pids()
        dump_threads(pids[name] for name in ("control", "worker") if name in pids)
        return "\n".join(
            f"--- {path.name}\n{tail(path)}" for path in sorted((self.home / "logs").glob("*.log"))
        )

    def dispose(self) -> None:
        try:
            pids = self.pids()
        except (OSError, ValueError, KeyError):
            return
        down = False
        try:
            down = self.run("down").returncode == 0 and not any(map(alive, pids.values()))
        finally:  # of a test that is out of time, too
            for pid in () if down else pids.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


_SERVER = """
import json, sys
from click.testing import CliRunner
from seederfarm.cli import main
for line in sys.stdin:
    asked = json.loads(line)
    done = CliRunner().invoke(main, asked["arguments"], input=asked["stdin"], prog_name="seederfarm")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    print(json.dumps([done.exit_code, done.stdout, done.stderr]), flush=True)
"""


class OneProcessHome(FarmHome):
    """Runs all commands in one process, which loads Django once: for tests of many commands."""

    def __init__(self, home: Path, *, beside: FarmHome | None = None, **settings: str) -> None:
        """`beside`: with the settings of that one, which started the farm and will stop it."""
        super().__init__(home, **settings)
        if beside is not None:
            self.env = beside.env
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps({"arguments": arguments, "stdin": stdin}) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, f"{' '.join(arguments)} was a bug: see the traceback above"
        code, out, err = json.loads(answer)
        return subprocess.CompletedProcess(arguments, code, out, err)

    def dispose(self) -> None:
        with self._server as server:
            server.kill()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_dead(pids: dict[str, int], timeout: float = 30.0) -> None:
    until = time.monotonic() + timeout
    while left := {name: pid for name, pid in pids.items() if alive(pid)}:
        assert time.monotonic() < until, f"still running: {left}"
        time.sleep(0.05)
