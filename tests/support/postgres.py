"""A private PostgreSQL: its own data directory, a free port on loopback, ended after the tests.

The binaries come from the system (Debian: `apt-get install postgresql`), and run as an unprivileged user
where the tests run as root, since PostgreSQL refuses root. `missing()` says why there can be none.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import quote

from .ports import free_port
from .require import is_ci, require

START_TIMEOUT: Final = 60.0
_UNPRIVILEGED: Final = ("postgres", "nobody")


@cache
def binaries() -> Path | None:
    """The directory with initdb and postgres, the newest version first. None: not installed."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0,
        reverse=True,
    )
    on_path = shutil.which("initdb")
    found = [*versions, *([Path(on_path)] if on_path else [])]
    return next((path.parent for path in found if (path.parent / "postgres").exists()), None)


def install() -> None:
    """Through apt, where this is Debian (or its child) and we are root. Failures show in `missing()`."""
    if binaries() is not None or os.getuid() != 0 or not shutil.which("apt-get"):
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "postgresql"],
    ):
        subprocess.run(command, env=environment, capture_output=True, check=False, timeout=600)
    binaries.cache_clear()


def missing() -> str | None:
    """Why there is no PostgreSQL to test with, or None."""
    if binaries() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.getuid() == 0 and _user() is None:
        return f"PostgreSQL refuses root, and none of the users {', '.join(_UNPRIVILEGED)} exists"
    return None


def _user() -> str | None:
    """Whom to run as: None stands for ourselves."""
    if os.getuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    return None


class Postgres:
    """One server. `start` and `stop` may be called again: data and port stay."""

    user = "farm"
    password = "farm-tests"

    def __init__(self) -> None:
        directory = binaries()
        assert directory is not None, missing()
        self._bin = directory
        self._run_as = _user()
        self._place = Path(tempfile.mkdtemp(prefix="farm-pg-"))
        self.data = self._place / "data"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.template: str | None = None
        """Name of a database that tests make copies of."""
        password = self._place / "password"
        password.write_text(self.password)
        self._place.chmod(0o700)
        if self._run_as is not None:
            user = pwd.getpwnam(self._run_as)
            for path in (self._place, password):
                os.chown(path, user.pw_uid, user.pw_gid)
        self._run(
            "initdb", "-D", str(self.data), "-U", self.user, f"--pwfile={password}",
            "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync",
        )  # fmt: skip

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{self.user}:{quote(self.password)}@127.0.0.1:{self.port}/{database}"

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of the server that runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        assert self._process is None
        log = (self._place / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._run_as,
                group=self._group(),
                extra_groups=[] if self._run_as else None,
                cwd=self._place,
                start_new_session=True,  # Ctrl-C at the tests ends the tests first
            )
        self._wait()

    def _options(self) -> list[str]:
        settings = ("fsync=off", "max_connections=200", f"unix_socket_directories={self._place}")
        given = [part for setting in settings for part in ("-c", setting)]
        return ["-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port), *given]

    def stop(self, *, immediately: bool = False) -> None:
        """`immediately`: as in a crash, without a checkpoint; the next start recovers."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(3 if immediately else 2)  # SIGQUIT: immediate, SIGINT: fast shutdown
        try:
            process.wait(START_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def dispose(self) -> None:
        self.stop(immediately=True)
        shutil.rmtree(self._place, ignore_errors=True)

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """A new database, empty or a copy of the template; returns its URL."""
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def sql(self, statement: str, database: str = "postgres") -> None:
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        ready = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            process = self._process
            assert process is not None
            if process.poll() is not None or time.monotonic() > deadline:
                log = (self._place / "log").read_text(errors="replace")[-2000:]
                self.stop(immediately=True)
                raise RuntimeError(f"PostgreSQL did not start:\n{log}")
            time.sleep(0.05)

    def _run(self, name: str, *arguments: str) -> None:
        command: Sequence[str] = [str(self._bin / name), *arguments]
        result = subprocess.run(
            command,
            user=self._run_as,
            group=self._group(),
            extra_groups=[] if self._run_as else None,
            cwd=self._place,
            capture_output=True,
            check=False,
            timeout=120,
        )
        if result.returncode:
            raise RuntimeError(f"{name} failed: {result.stderr.decode(errors='replace')[-2000:]}")

    def _group(self) -> int | None:
        return None if self._run_as is None else pwd.getpwnam(self._run_as).pw_gid


@contextmanager
def running() -> Iterator[Postgres]:
    """A server of the test's own. Without PostgreSQL the test is skipped; with CI=true it fails."""
    if is_ci():
        install()
    require(missing())
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.dispose()
