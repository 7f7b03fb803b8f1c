"""The pages of an invented farm: a web server and a gateway over rows in a temporary home. No network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..support.farm_home import FarmHome
from ..support.gateway import GatewayProcess
from ..support.paths import ROOT
from ..support.ports import free_port

START_TIMEOUT = 60.0


class PrivateFarm:
    """Serves pages until it is disposed of."""

    def __init__(self, *, empty: bool = False) -> None:
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="private-farm-")))
            # a heartbeat that is never late: workers of these rows report nothing
            self._home = FarmHome(home, SEEDERFARM_HEARTBEAT="1h", SEEDERFARM_NAME="Seeder Farm")
            self.database = home / "farm.sqlite3"
            self.env = {**self._home.env, "DJANGO_SETTINGS_MODULE": "seederfarm.settings.scratch"}
            made = self._fill(["--empty"] if empty else [])
            self.keys: dict[str, str] = made.get("keys", {})
            """Keys of drives in z-base-32, by what they are an example of."""
            self.workers: dict[str, str] = made.get("workers", {})
            """Ids of workers by name."""
            self._sessions: dict[str, str] = made["sessions"]
            if not empty:
                gateway = GatewayProcess([f"127.0.0.1:{free_port()}"], home / "worker")
                stack.callback(gateway.dispose)
                (home / "run").mkdir(exist_ok=True)
                (home / "run" / "gateway.sock").symlink_to(gateway.socket)
            self._log = stack.enter_context(tempfile.TemporaryFile())
            self._web = self._start()
            stack.callback(self._stop)
            self._wait()
            self._stack = stack.pop_all()

    @property
    def address(self) -> str:
        return self._home.address

    def session(self, name: str) -> tuple[str, str]:
        """The cookie of an account that is logged in."""
        return f"farm_session_{self._home.env['SEEDERFARM_WEB_PORT']}", self._sessions[name]

    def _fill(self, options: list[str]) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.browser.invented_farm", *options],
            env=self.env, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "uvicorn", "seederfarm.asgi:application", "--no-access-log"]
        command += ["--lifespan", "off", "--port", self.env["SEEDERFARM_WEB_PORT"], "--log-level", "warning"]
        return subprocess.Popen(command, env=self.env, stdout=self._log, stderr=self._log, cwd=ROOT)

    def _stop(self) -> None:
        self._web.kill()
        self._web.wait()

    def _wait(self) -> None:
        until = time.monotonic() + START_TIMEOUT
        while True:
            try:
                with urllib.request.urlopen(f"{self.address}livez", timeout=5):
                    return
            except OSError:
                assert self._web.poll() is None and time.monotonic() < until, self.log()
                time.sleep(0.05)

    def log(self) -> str:
        """What the web server wrote."""
        return os.pread(self._log.fileno(), 100_000, 0).decode(errors="replace")

    def dispose(self) -> None:
        self._stack.close()
