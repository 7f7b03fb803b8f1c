"""A disk that fills up: reported in plain words, nothing partial taken for whole.

The data directory is a file system of a few megabytes in a mount namespace of its own, which `unshare`
makes where the kernel lets it.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..support import seed_process as cli
from ..support.json_process import JsonProcess
from ..support.node import Publisher
from ..support.published import publish_core

pytestmark = pytest.mark.interop

SMALL = "mount -t tmpfs -o size=6m none"


def namespaces() -> bool:
    try:
        probe = subprocess.run(
            ["unshare", "-rm", "sh", "-c", f"{SMALL} /mnt"], capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0


@pytest.mark.skipif(
    not namespaces(), reason="this machine lets nobody mount a small file system (unshare -rm)"
)
def test_a_full_disk_is_reported_and_nothing_partial_is_taken_for_whole(
    publisher: Publisher, bootstrap: list[str], processes: ExitStack, tmp_path: Path
) -> None:
    made = publish_core(publisher, "plain", [(f"block {i}", 60_000) for i in range(400)])  # 24 MB
    data = tmp_path / "farm"
    data.mkdir()
    seed = shlex.join(
        [
            *(*cli.COMMAND, "seed", made["key"], "--data", str(data), "--json", "--keep-free", "0"),
            *cli.bootstrap_options(bootstrap),
        ]
    )
    verify = shlex.join([*cli.COMMAND, "verify", made["key"], "--data", str(data)])
    script = f"{SMALL} {shlex.quote(str(data))}; timeout -s INT 10 {seed}; echo; exec {verify} >&2"
    farm = JsonProcess("seed on a full disk", ["unshare", "-rm", "sh", "-c", script], env=cli.environment())
    processes.callback(farm.dispose)

    reported = farm.wait_for(
        lambda event: event.get("event") == "error", timeout=40, what="an error that says the disk is full"
    )
    assert "full" in reported["message"].lower() or "space" in reported["message"].lower(), reported
    farm.wait(60)
    # One line for each reason and one event, however often it was tried; and an event for the last try of all
    reasons = {line for line in farm.stderr.splitlines() if "could not write" in line}
    assert (
        farm.stderr.count("could not write") == len({line.partition("could not")[2] for line in reasons}) > 0
    )
    notified = [event for event in farm.events if event.get("code") == "STORAGE_FULL"]
    assert len(notified) <= len(reasons) + 1
    assert not list(farm.select(lambda event: event.get("event") == "synced"))
    assert "Traceback" not in farm.stderr, farm.describe()
    counted = publisher.ask("uploads", name="thing")["core"]
    assert max(counted.values()) <= 20, "it asks for the same blocks again and again"


@pytest.mark.skipif(
    not namespaces(), reason="this machine lets nobody mount a small file system (unshare -rm)"
)
def test_a_read_only_disk_is_called_that(bootstrap: list[str], tmp_path: Path) -> None:
    data = tmp_path / "disk"
    data.mkdir()
    seed = shlex.join(
        [
            *(*cli.COMMAND, "seed", "ab" * 32, "--data", str(data / "farm"), "--json"),
            *cli.bootstrap_options(bootstrap),
        ]
    )
    script = f"{SMALL} {shlex.quote(str(data))}; mount -o remount,ro {shlex.quote(str(data))}; {seed}"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        capture_output=True,
        timeout=60,
        check=False,
        env=cli.environment(),
    )
    assert done.returncode == 1
    (reported,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (reported["event"], reported["code"]) == ("error", "STORAGE_READ_ONLY")
    assert "the file system is read-only" in reported["message"]
