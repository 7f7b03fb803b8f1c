"""The files in SEEDERFARM_HOME that belong to a running farm: locks, state, logs."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from ..settings.env import COMMAND

STALE_WAIT: Final = 15.0
"""Seconds that a start waits for children whose supervisor was killed; they end by themselves."""


class AlreadyRunning(Exception):
    """Another `up` uses this home."""


class Lock:
    """An flock that ends with the processes that hold it, however they end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = -1

    def acquire(self, wait: float = 0.0) -> bool:
        """Take the lock, waiting at most `wait` seconds. Returns whether it is ours. Raises OSError."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    os.close(fd)
                    return False
                time.sleep(0.05)
            else:
                self.fd = fd
                return True

    def release(self) -> None:
        """Give it up; nothing happens if it is not ours."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def is_held(self) -> bool:
        """Whether another process holds it."""
        if not self.path.exists():
            return False
        probe = Lock(self.path)
        if probe.acquire():
            probe.release()
            return False
        return True

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class RunFiles:
    """Paths below SEEDERFARM_HOME."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.run = home / "run"
        self.logs = home / "logs"
        self.state = self.run / "up.json"
        self.flower_secret = home / "flower_secret"
        self.supervisor_lock = Lock(self.run / "supervisor.lock")
        """Held by the supervisor: while it is held, the pid in `state` is the supervisor's."""
        self.children_lock = Lock(self.run / "children.lock")
        """Inherited by every child: while it is held, some process of the farm runs."""

    def make(self) -> None:
        """Make directories for their owner only. Raises OSError."""
        for path in (self.home, self.run, self.logs):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self.run, self.logs):
            path.chmod(0o700)

    def take(self) -> None:
        """Become the supervisor of this home. Raises AlreadyRunning."""
        if not self.supervisor_lock.acquire():
            pid = self.read_state().get("pid", "?")
            raise AlreadyRunning(
                f"a farm runs in {self.home} already (process {pid}): `{COMMAND} status` shows it, "
                f"`{COMMAND} down` stops it"
            )
        if not self.children_lock.acquire(STALE_WAIT):
            self.supervisor_lock.release()
            raise AlreadyRunning(
                f"processes of an earlier run in {self.home} have not ended yet; nothing was started: "
                "try again in a moment"
            )

    def give_up(self) -> None:
        """Release the locks of the supervisor."""
        self.children_lock.release()
        self.supervisor_lock.release()

    def is_running(self) -> bool:
        """Whether a supervisor runs on this home. The lock decides, not a file that may be stale."""
        return self.supervisor_lock.is_held()

    def has_run(self) -> bool:
        """Whether a supervisor runs on this home, or ever did: processes that others start leave no lock."""
        return self.supervisor_lock.path.exists()

    def read_state(self) -> dict[str, Any]:
        """The supervisor's last state; empty without one."""
        try:
            state = json.loads(self.state.read_text())
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def write_state(self, state: dict[str, Any]) -> None:
        """Replace the state that `status` reads, all of it at once. Its mode is 0600."""
        temporary = self.state.with_suffix(".new")
        temporary.write_text(json.dumps(state))
        temporary.chmod(0o600)
        temporary.replace(self.state)

    def clear_state(self) -> None:
        """Delete the state, as nothing runs any more."""
        self.state.unlink(missing_ok=True)
