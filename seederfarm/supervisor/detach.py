"""`up -d`: the same supervisor in the background, which reports its start through a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ..settings.env import SettingsWrong
from ..settings.load import load
from .broker import NoRedis
from .home import AlreadyRunning
from .supervise import StartFailed, supervise


def start_detached() -> Iterator[dict[str, Any]]:
    """Yield events until the farm is ready, or `{"event": "failed", "text"}`."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "seederfarm.supervisor.detach", str(writing)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=(writing,),
    )
    os.close(writing)
    ended = False
    with os.fdopen(reading, encoding="utf-8") as pipe:
        for line in pipe:
            event = json.loads(line)
            ended = event["event"] in ("ready", "failed")
            yield event
            if ended:
                break
    if not ended:
        code = process.wait()
        yield {
            "event": "failed",
            "text": f"the supervisor ended with status {code} before the farm was ready",
        }
    elif process.poll() is None:
        process.returncode = 0  # it is independent now: no wait for it


class _ReadyWriter:
    """Writes events to the pipe until the farm is ready; later ones are in the log."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __call__(self, event: dict[str, Any]) -> None:
        if self._fd < 0:
            return
        with suppress(OSError):  # the reader has closed
            os.write(self._fd, json.dumps(event).encode() + b"\n")
        if event["event"] in ("ready", "failed"):
            os.close(self._fd)
            self._fd = -1


def main() -> int:
    """Supervise in the background for `up -d`. Events go to the file descriptor in the first argument, as
    JSON lines, until the farm is ready. Returns the exit status."""
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)
    emit = _ReadyWriter(fd)
    try:
        supervise(load().checked(), emit)
    except (AlreadyRunning, NoRedis, SettingsWrong, StartFailed) as error:
        emit({"event": "failed", "text": str(error)})
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        emit({"event": "failed", "text": f"{where}{error.strerror or error}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
