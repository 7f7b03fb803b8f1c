"""Becomes the process of a role. `init` makes the secrets, `migrate` the database and the first account."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from workers.settings.table import READY_FD

from ..settings.env import SettingsWrong
from ..settings.load import load
from ..settings.secrets import secret_file
from ..supervisor.home import RunFiles
from ..supervisor.process import SECRET
from ..supervisor.processes import ROWS
from .health import READY
from .secrets import NoCertificate, make_secrets

ROLES: Final = {row.__name__: row for row in ROWS if row.__name__ != "redis"}
"""Processes by name; Redis has an image of its own."""
SERVERS: Final = Path("/secrets")
"""Where the volumes with the servers' secrets are, for `init`."""
PASSWORD_FILE: Final = "admin_password"
"""In SEEDERFARM_HOME: the first account's password, until the operator deletes it."""
START_TIMEOUT: Final = 90.0
"""Seconds that `migrate` waits for the database and the broker, which start at the same time."""
PAUSE: Final = 2.0


def main(arguments: list[str]) -> int:
    """Run `ROLE`. Returns an exit status; a role that is a process replaces this one instead."""
    role, *rest = arguments or [""]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seederfarm.settings.base")
    os.environ["PYTHONUNBUFFERED"] = "1"
    os.umask(0o077)
    try:
        match role:
            case "init":
                make_secrets(load().settings.home, SERVERS, rest[0] if rest else "localhost")
                return 0
            case "migrate":
                return migrate(load().checked().home)
            case _ if role in ROLES:
                become(role)
    except (NoCertificate, SettingsWrong, ValueError) as error:
        return _fail(role, str(error))
    except OSError as error:
        return _fail(role, f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))
    return _fail(role or "no role", f"expected one of init, migrate, {', '.join(ROLES)}")


def become(role: str) -> None:
    """Replace this process with that of the role. Returns only where these settings need none."""
    farm = load().checked()
    spec = ROLES[role](farm, RunFiles(farm.home))
    if spec is None:
        return
    hidden = frozenset() if spec.secrets else SECRET | {f"{name}_FILE" for name in SECRET}
    environ = {name: value for name, value in os.environ.items() if name not in hidden} | dict(spec.env)
    descriptor = os.open(READY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.set_inheritable(descriptor, True)
    if not spec.reports_ready:
        os.write(descriptor, b"\n")
    environ[READY_FD.name] = str(descriptor)
    os.execvpe(spec.argv[0], spec.argv, environ)


def migrate(home: Path) -> int:
    """Prepare the database. The first account's password goes into a file, not into the log."""
    until = time.monotonic() + START_TIMEOUT
    command = [sys.executable, "-m", "seederfarm.supervisor.prepare"]
    while (done := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        if time.monotonic() > until or "cannot be reached" not in done.stderr:
            return _fail("migrate", done.stderr.strip())
        time.sleep(PAUSE)
    report = json.loads(done.stdout.splitlines()[-1])
    if report["migrated"]:
        _print(f"migrated the database: {len(report['migrated'])} steps")
    if (admin := report["admin"]) is not None:
        path = home / PASSWORD_FILE
        path.unlink(missing_ok=True)
        secret_file(path, lambda: f"{admin['password']}\n".encode())
        _print(f"made the account {admin['username']}; its password is in {path}: read it, then delete it")
    return 0


def _fail(role: str, text: str) -> int:
    sys.stderr.write(f"{role}: {text}\n")
    return 1


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
