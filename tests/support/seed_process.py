"""Our own command line as processes: the long-running `seed` and the commands that end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .json_process import Event, JsonProcess, ProcessFailed

READY_TIMEOUT = 20.0
SYNC_TIMEOUT = 60.0

_SCRIPT = Path(sys.executable).with_name("seederfarm")

COMMAND = (
    [str(_SCRIPT)] if _SCRIPT.exists() else [sys.executable, "-c", "import seederfarm.cli as c; c.main()"]
)
"""The installed command; from a mere checkout the same through Python."""


def environment() -> dict[str, str]:
    """The caller's environment without settings that would leak into a test."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SEEDERFARM_")}


def bootstrap_options(bootstrap: Sequence[str]) -> list[str]:
    return [part for address in bootstrap for part in ("--bootstrap", address)]


def run(
    *arguments: str, timeout: float = 60.0, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """A command that ends by itself, its output captured."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        timeout=timeout,
        env=environment(),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        check=False,
    )


class SeedProcess(JsonProcess):
    """`seederfarm seed … --json`, its events parsed."""

    command = "seed"

    def __init__(
        self, data: Path, bootstrap: Sequence[str], *arguments: str, prefix: Sequence[str] = ()
    ) -> None:
        """`prefix` says where it runs."""
        options = ["--data", str(data), "--json", *bootstrap_options(bootstrap)]
        command = [*prefix, *COMMAND, self.command, *arguments, *options]
        super().__init__(f"seederfarm {self.command}", command, env=environment())
        self.data = data

    def wait_ready(self, timeout: float = READY_TIMEOUT) -> Event:
        return self.wait_for(lambda event: event.get("event") == "ready", timeout=timeout, what="ready")

    def wait_synced(
        self, key: str, version: int = 0, *, timeout: float = SYNC_TIMEOUT, since: int = 0
    ) -> Event:
        """The first `synced` event of `key` at `version` or later."""
        return self.wait_for(
            lambda event: (
                event.get("event") == "synced" and event.get("key") == key and event["version"] >= version
            ),
            timeout=timeout,
            since=since,
            what=f"synced at version {version} of {key}",
        )

    def wait_fork(self, key: str, fork: int, *, timeout: float = SYNC_TIMEOUT) -> Event:
        """The `core` event by which the core `key` is on that fork."""
        return self.wait_for(
            lambda event: event.get("event") == "core" and event.get("core") == key and event["fork"] >= fork,
            timeout=timeout,
            what=f"fork {fork} of core {key}",
        )

    def wait_peer(self, public_key: str, state: str = "open", *, timeout: float = SYNC_TIMEOUT) -> Event:
        return self.wait_for(
            lambda event: (
                event.get("event") == "peer" and event.get("peer") == public_key and event["state"] == state
            ),
            timeout=timeout,
            what=f"peer {public_key} {state}",
        )

    def wait_blind(
        self, core: str, state: str = "complete", *, timeout: float = SYNC_TIMEOUT, **like: int
    ) -> Event:
        """The first `blind_core` event of a core in that state, with those fields."""
        return self.wait_for(
            lambda event: (
                event.get("event") == "blind_core"
                and (event["core"], event["state"]) == (core, state)
                and all(event[name] == like[name] for name in like)
            ),
            timeout=timeout,
            what=f"{core} {state} {like}",
        )

    def of(self, name: str, key: str | None = None) -> list[Event]:
        """All events of that name so far (of that key)."""
        return list(
            self.select(lambda event: event.get("event") == name and (key is None or event.get("key") == key))
        )

    def finish(self, timeout: float = SYNC_TIMEOUT) -> list[Event]:
        """Waits for a process that was started with --until-synced; it must end with status 0."""
        status = self.wait(timeout)
        if status != 0:
            raise ProcessFailed(f"{self.name} ended with {status}\n{self.describe()}")
        return self.events

    def check_contract(self) -> None:
        """Every line so far was a JSON object with the fields that docs/cli.md lists."""
        assert self.noise == [], f"lines on standard output that are no JSON objects: {self.noise[:3]}"
        for event in self.events:
            fields = set(event) - {"event", "at"}
            assert event.get("event") in FIELDS, event
            assert fields >= FIELDS[event["event"]], f"{event}: lacks {FIELDS[event['event']] - fields}"


class Publishing(SeedProcess):
    """`seederfarm publish FOLDER --json`."""

    command = "publish"

    def wait_published(self, timeout: float = SYNC_TIMEOUT, since: int = 0, **like: int) -> Event:
        """The first `published` event with those fields."""
        return self.wait_for(
            lambda event: (
                event.get("event") == "published" and all(event[name] == like[name] for name in like)
            ),
            timeout=timeout,
            since=since,
            what=f"published {like}",
        )


FIELDS: dict[Any, set[str]] = {
    "ready": {"public_key", "host", "port", "firewalled", "bootstrap"},
    "core": {"key", "core", "role", "length", "fork", "byte_length"},
    "progress": {"key", "kind", "blocks", "have_blocks", "bytes", "have_bytes", "peers"},
    "synced": {"key", "kind", "version", "length", "bytes"},
    "published": {"key", "version", "files", "bytes", "added", "changed", "removed"},
    "peer": {"key", "peer", "state", "bytes_in", "bytes_out"},
    "error": {"key", "code", "message"},
    "fork": {"key", "core", "state", "fork", "length", "new_fork", "new_length"},
    "network": {"state"},
    "blind_core": {"core", "state", "client", "priority", "announce", "length", "bytes"},
    "stats": {"connections", "max_stall_ms", "max_busy_ms"},
    "limit": {"limit", "state", "value", "max"},
}
"""The JSON lines of `seed --json`: event name to its fields."""
