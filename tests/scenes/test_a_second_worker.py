"""`./farm up -d` in one directory; in another, the one command that `worker enroll` prints."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from workers.agent.refused_logins import LINE
from workers.agent.run import EXIT_RETIRED

from ..support.content import File
from ..support.control_processes import QUICK, complete_on, online
from ..support.evidence import show_on_failure
from ..support.farm_home import FarmHome
from ..support.node import Publisher
from ..support.published import publish_drive
from ..support.waiting import eventually
from .conftest import Registry


def in_flower(home: FarmHome) -> set[str]:
    """Beginnings of the ids of the workers that answer it."""
    login = (home.home / "flower_secret").read_text().strip()
    request = urllib.request.Request(
        f"http://127.0.0.1:{home.env['SEEDERFARM_FLOWER_PORT']}/flower/api/workers?refresh=1"
    )
    request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return {name.partition("@")[2] for name in json.load(answer)}


@pytest.mark.interop
def test_a_second_worker_joins_with_one_command_takes_copies_and_leaves_in_order(
    request: pytest.FixtureRequest,
    processes: ExitStack,
    tmp_path: Path,
    bootstrap: list[str],
    registry: Registry,
    publisher: Publisher,
) -> None:
    home = FarmHome(
        tmp_path / "home", SEEDERFARM_BOOTSTRAP=",".join(bootstrap), FARM_COMMAND="./farm", **QUICK
    )
    processes.callback(home.dispose)
    show_on_failure(request.node, home.evidence)
    home.start()
    registry(f"sqlite:///{home.home / 'farm.sqlite3'}")

    (line,) = home.run("worker", "enroll", "--name", "second").stdout.splitlines()
    given, _, command = line.partition(" | ")
    (echo, token), (program, *arguments) = shlex.split(given), shlex.split(command)
    assert (echo, program) == ("echo", "./farm")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    second = subprocess.Popen(
        [sys.executable, "-m", "seederfarm", *arguments],
        cwd=elsewhere,
        env={**home.env, "SEEDERFARM_HOME": str(elsewhere / "unused")},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    processes.callback(second.kill)
    assert second.stdin is not None
    second.stdin.write(f"{token}\n")
    second.stdin.close()
    second.stdin = None  # `communicate` writes nothing more
    eventually(lambda: "second" in online() and len(online()) == 2, timeout=60, what="two workers")
    (first,) = online() - {"second"}

    made = publish_drive(publisher, "plain", [File(path="/note.txt", size=200_000)])
    home.lines("add", made["key"], "--replicas", "2", "--wait", "--timeout", "60")
    assert complete_on(made["key"]) == {first, "second"}
    assert (elsewhere / "worker-2" / "engine-0").is_dir()
    ids = {worker["name"]: worker["id"] for worker in home.lines("workers")}
    nodes = {node[:12] for node in ids.values()}
    eventually(lambda: nodes <= in_flower(home), timeout=60, what="both workers in Flower", every=0.5)

    home.lines("worker", "drain", "second")
    home.lines("add", made["key"], "--replicas", "1")
    eventually(lambda: complete_on(made["key"]) == {first}, timeout=60, what="the release of its copy")
    assert home.lines("worker", "retire", "second") == [
        {"worker": "second", "state": "retired", "changed": True}
    ]
    states = {worker["name"]: worker["state"] for worker in home.lines("workers")}
    assert states == {first: "active", "second": "retired"}

    try:
        _, reported = second.communicate(timeout=20)
        assert second.returncode == EXIT_RETIRED, reported
        assert "has retired this worker, so it stops" in reported and "Traceback" not in reported
    except subprocess.TimeoutExpired:  # on a busy machine its login may end before it takes the message
        second.terminate()
        _, reported = second.communicate(timeout=30)
        assert second.returncode == 0 and LINE in reported, reported
    assert "has let this worker in" in reported
