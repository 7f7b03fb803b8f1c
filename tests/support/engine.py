"""The seed engine as a child process, driven as a worker drives it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .json_process import Event, JsonProcess
from .seed_process import bootstrap_options, environment


class EngineChild(JsonProcess):
    """`python -m workers.engine.process.main`."""

    ends_with_stdin = True

    def __init__(self, data: Path, bootstrap: Sequence[str], *options: str) -> None:
        command = [sys.executable, "-m", "workers.engine.process.main", "--data", str(data)]
        command += ["--parent", str(os.getpid()), *bootstrap_options(bootstrap), *options]
        super().__init__("engine child", command, env=environment())

    def send(self, cmd: str, **fields: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"cmd": cmd} | fields) + "\n")
        self.process.stdin.flush()

    def sync(self, *keys: str, drop: Sequence[str] = (), max_fork: int | None = None) -> None:
        entries = [{"key": key, "kind": None, "priority": 5, "max_fork": max_fork} for key in keys]
        self.send("sync", entries=entries, drop=list(drop))

    def wait_status(self, key: str, phase: str, *, timeout: float = 30.0, since: int = 0) -> dict[str, Any]:
        """The first status of `key` in that phase."""

        def reported(event: Event) -> dict[str, Any] | None:
            for status in event.get("keys", ()) if event.get("event") == "status" else ():
                if status["key"] == key and status["phase"] == phase:
                    return dict(status)
            return None

        found = reported(
            self.wait_for(lambda event: reported(event) is not None, timeout=timeout, what=phase, since=since)
        )
        assert found is not None
        return found

    def wait_event(self, name: str, *, timeout: float = 20.0, since: int = 0, **fields: Any) -> Event:
        return self.wait_for(
            lambda event: event.get("event") == name and fields.items() <= event.items(),
            timeout=timeout,
            since=since,
            what=f"{name} {fields}",
        )
