"""What `worker doctor` finds, and what it advises."""

from __future__ import annotations

import errno
import json
import os
import socket
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from hypercore.dht.address import parse_bootstrap
from seederfarm.cli import main
from workers.agent.settings import settings_from
from workers.doctor import machine, network, worker
from workers.doctor.finding import Finding
from workers.doctor.machine import check_clock, check_disk, compare_clocks
from workers.doctor.network import check_dht, check_udp_port
from workers.doctor.worker import (
    JOIN,
    REFUSED,
    check_broker,
    check_farm,
    check_membership,
    check_worker,
    is_running,
    read_facts,
)
from workers.state import JoinedFarm, State

from ...support.ports import free_port
from ...support.redis import RedisServer

FREE = SimpleNamespace(total=100 * 10**9, free=50 * 10**9)


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.EROFS, "read-only"), (errno.ENOSPC, "is full"), (errno.EACCES, "owner"), (errno.EIO, "mounted")],
)
def test_a_disk_that_cannot_be_written_is_a_problem(
    number: int, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(**_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", failing)
    found = check_disk("disk", tmp_path)
    assert found.state == "problem" and os.strerror(number) in found.text and advice in found.hint


def test_a_disk_without_room_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: FREE)
    assert check_disk("disk", tmp_path).state == "ok"
    full = check_disk("disk", tmp_path, keep_free=FREE.free)
    assert full.state == "warning" and "50.0 GB are free" in full.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("answer", "state"), [("yes", "ok"), ("no", "warning"), ("", "warning")])
def test_a_clock_that_nothing_sets_is_a_warning(
    answer: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "timedatectl"
    program.write_text(f"#!/bin/sh\necho {answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert check_clock().state == state


def test_clocks_that_differ_are_a_problem() -> None:
    assert compare_clocks(1000.0, 999.0, "the database") == Finding(
        "clock", "ok", "within 1 s of that of the database"
    )
    behind = compare_clocks(0.0, 300.0, "the database")
    assert (behind.state, behind.text) == ("problem", "300 s behind that of the database")


def test_a_dht_that_does_not_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "DHT_TIMEOUT", 0.2)
    (found,) = check_dht([parse_bootstrap(f"127.0.0.1:{free_port()}")])
    assert found.state == "problem" and "no node answers" in found.text


@pytest.mark.interop
def test_a_dht_that_answers_shows_how_peers_reach_us(bootstrap: list[str]) -> None:
    dht, nat = check_dht([parse_bootstrap(node) for node in bootstrap])
    assert dht.state == "ok" and "127.0.0.1:" in dht.text and nat.check == "NAT"


def test_a_port_that_another_program_has_is_a_problem() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 0))
        port = other.getsockname()[1]
        assert check_udp_port(port, used_by_us=False).state == "problem"
        assert check_udp_port(port, used_by_us=True).state == "ok"
    assert check_udp_port(port, used_by_us=False).state == check_udp_port(0, used_by_us=False).state == "ok"


def test_the_state_is_read_while_a_worker_has_it(tmp_path: Path) -> None:
    assert (is_running(tmp_path), read_facts(tmp_path)) == (False, {})
    state = State(tmp_path)
    try:
        state.join(JoinedFarm("farm", "y" * 52, "redis://127.0.0.1/0", "secret" * 5))
        facts = read_facts(tmp_path)
        assert is_running(tmp_path) and check_membership(facts, running=True, start="").state == "warning"
        state.welcomed(("redis://u:p@127.0.0.1/0", True))
        facts = read_facts(tmp_path)
        found = check_membership(facts, running=True, start="")
        assert found == Finding("farm", "ok", "a member of farm, and runs")
        assert facts["broker"] == "redis://u:p@127.0.0.1/0"
    finally:
        state.close()
    stopped = check_membership(facts, running=False, start="start it")
    assert not is_running(tmp_path) and (stopped.state, stopped.hint) == ("problem", "start it")
    assert check_membership({}, running=False, start="").text == "this worker belongs to no farm"


def test_the_broker_is_asked_as_the_worker_asks_it(redis_server: RedisServer, tmp_path: Path) -> None:
    assert check_broker(redis_server.url, tmp_path).state == "ok"
    refused = check_broker(f"redis://gone:pw@127.0.0.1:{redis_server.port}/0", tmp_path)
    assert refused.state == "problem" and "was retired" in refused.text
    away = check_broker(f"redis://u:hunter2@127.0.0.1:{free_port()}/0", tmp_path)
    assert away.state == "problem" and "cannot be reached" in away.text and "hunter2" not in str(away)


def test_a_worker_that_was_retired_is_not_to_be_started_but_to_join_again(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    def found(broker: str) -> list[Finding]:
        facts = read_facts(tmp_path) | {"broker": broker}
        return list(check_farm(facts, tmp_path, running=False, start="start it"))

    refusing = f"redis://gone:pw@127.0.0.1:{redis_server.port}/0"
    state = State(tmp_path)
    try:
        state.join(JoinedFarm("farm", "y" * 52, "redis://127.0.0.1/0", ""))
        assert {finding.hint for finding in found(redis_server.url)} == {"start it", ""}
        # While it was away, so that it does not know
        farm, broker = found(refusing)
        assert farm.hint == broker.hint == JOIN and broker.text == REFUSED
        state.set(retired="yes")
        (known,) = found(refusing)
        assert "has retired this worker" in known.text and known.hint == JOIN
        state.join(JoinedFarm("farm", "y" * 52, "redis://127.0.0.1/0", ""))
        assert "retired" not in read_facts(tmp_path)
    finally:
        state.close()


@pytest.mark.parametrize(("command", "service"), [("./farm", False), ("seederfarm", True)])
def test_hints_name_the_command_that_was_started_and_the_directory(
    command: str, service: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "check_dht", lambda _: [])
    monkeypatch.setattr(worker, "read_facts", lambda _: {"control": "y" * 52, "farm": "farm"})
    data = tmp_path / "my worker"
    *_, last = check_worker(settings_from({}, data=data), command)
    assert last.hint.endswith(f"`{command} worker run --data '{data}'`")
    assert ("systemctl" in last.hint) is service


def test_the_command_prints_a_line_for_each_check_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "DHT_TIMEOUT", 0.1)
    words = ("worker", "doctor", "--data", str(tmp_path), "--bootstrap", f"127.0.0.1:{free_port()}")
    done = CliRunner().invoke(main, [*words, "--json"])
    found = {line["check"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert done.exit_code == 1
    assert found.keys() == {"versions", "disk", "clock", "UDP port", "DHT", "farm"}
    assert "enroll" in found["farm"]["hint"]
    shown = CliRunner().invoke(main, words).stdout
    assert "PROBLEM  farm" in shown and "→" in shown and shown.endswith("2 to mend.\n")
