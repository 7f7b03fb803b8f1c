"""The gateway process, and its unix socket as the web process uses it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypercore.dht.address import parse_bootstrap
from workers.gateway.server import Gateway, running_gateway

from .seed_process import bootstrap_options, environment

START_TIMEOUT = 30.0


class Dialogue:
    """One connection to a gateway."""

    def __init__(self, path: Path, timeout: float = 60.0) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self._file = self.socket.makefile("rb")

    def send(self, kind: str, **fields: Any) -> None:
        self.socket.sendall(json.dumps({"type": kind, **fields}).encode() + b"\n")

    def answer(self) -> dict[str, Any]:
        """The next answer; empty when the gateway has closed the connection."""
        line = self._file.readline()
        return json.loads(line) if line else {}

    def ask(self, key: str, path: str, **fields: Any) -> dict[str, Any]:
        self.send("ask", key=key, path=path, **fields)
        return self.answer()

    def read(self, start: int, length: int) -> bytes:
        """Bytes of the file; fewer if the connection was closed."""
        self.send("read", start=start, length=length)
        answer = self.answer()
        assert answer == {"type": "begin"}, answer
        return self.take(length)

    def take(self, length: int) -> bytes:
        return self._file.read(length)

    def zip(self) -> bytes:
        """The archive. Raises AssertionError if it ends early."""
        self.send("zip")
        answer = self.answer()
        assert answer == {"type": "begin"}, answer
        parts = []
        while True:
            head = self._file.read(4)
            assert len(head) == 4, "the archive ended early"
            size = int.from_bytes(head, "big")
            if not size:
                return b"".join(parts)
            parts.append(self._file.read(size))

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Dialogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LocalGateway:
    """A gateway in this process, on a loop of its own thread, so that tests can lower its bounds."""

    def __init__(self, bootstrap: Sequence[str], *directories: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gateway-")
        self.socket = Path(self._folder.name) / "g.sock"
        self._bootstrap = [parse_bootstrap(text) for text in bootstrap]
        self._directories = directories
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self.gateway: Gateway
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(20) and self._error is None, self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        options: dict[str, Any] = {"directories": self._directories, "bootstrap": self._bootstrap}
        async with running_gateway(self.socket, host="127.0.0.1", **options) as self.gateway:
            self._ready.set()
            await self._stop.wait()

    def dialogue(self, timeout: float = 60.0) -> Dialogue:
        return Dialogue(self.socket, timeout)

    def get(self, key: str, path: str, **fields: Any) -> bytes:
        """The whole file. Raises AssertionError with the answer if it cannot be read."""
        with self.dialogue() as it:
            facts = it.ask(key, path, **fields)
            assert facts.get("kind") == "file", facts
            return it.read(0, facts["size"])

    def dispose(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        self._folder.cleanup()
        assert not self._thread.is_alive()
        assert self._error is None, self._error


class GatewayProcess:
    """`python -m workers.gateway.main`."""

    def __init__(self, bootstrap: Sequence[str], *data: Path, log: Path | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gateway-")
        self.socket = Path(self._folder.name) / "g.sock"
        command = [sys.executable, "-m", "workers.gateway.main", "--socket", str(self.socket)]
        for directory in data:
            command += ["--data", str(directory)]
        self.log = log or Path(self._folder.name) / "log"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [*command, *bootstrap_options(bootstrap)], env=environment(), stdout=out, stderr=out
            )
        until = time.monotonic() + START_TIMEOUT
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < until, self.log.read_text()
            time.sleep(0.02)

    def answers(self) -> bool:
        try:
            self.dialogue().close()
        except OSError:
            return False
        return True

    def dialogue(self, timeout: float = 60.0) -> Dialogue:
        return Dialogue(self.socket, timeout)

    def get(self, key: str, path: str, **fields: Any) -> bytes:
        """The whole file. Raises AssertionError with the answer if it cannot be read."""
        with self.dialogue() as it:
            facts = it.ask(key, path, **fields)
            assert facts.get("kind") == "file", facts
            return it.read(0, facts["size"])

    @property
    def open_sockets(self) -> int:
        return sum(
            "socket:" in str(entry.readlink()) for entry in Path(f"/proc/{self.process.pid}/fd").iterdir()
        )

    def dispose(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self._folder.cleanup()
