"""`seederfarm seed`: what it is given, what it refuses, and that it stops as it should. Without peers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from click.testing import CliRunner

from hypercore.core import disk_store
from seederfarm.cli import main
from workers.engine.settings.identity import IDENTITY_FILE, load_identity

KEY = "ab" * 32
COMMAND = [sys.executable, "-c", "from seederfarm.cli import main; main()", "seed"]
NOWHERE = ["--bootstrap", "127.0.0.1:9"]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SEEDERFARM_")}


def run(*arguments: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(),
        check=False,
    )


@pytest.fixture
def seeding(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A `seed --json` that is ready, and looks for a key that no peer has."""
    process = subprocess.Popen(
        [*COMMAND, KEY, "--json", "--data", str(tmp_path / "data"), *NOWHERE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    try:
        assert json.loads(_out(process).readline())["event"] == "ready"
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _out(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def _errors(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return without_nowhere(process.stderr.read())


def without_nowhere(errors: str) -> str:
    """Lines on stderr, but for the one that no node answers at NOWHERE: it comes after 3 seconds."""
    lines = errors.splitlines(keepends=True)
    return "".join(line for line in lines if "no node of the DHT answers" not in line)


# --- what it is given


def test_nothing_to_seed_is_a_usage_error(tmp_path: Path) -> None:
    empty = tmp_path / "seeds.txt"
    empty.write_text("# nothing yet\n")
    for arguments in ([], ["--file", str(empty)]):
        result = CliRunner().invoke(main, ["seed", *arguments, "--data", str(tmp_path / "data")])
        assert result.exit_code == 2
        assert result.stderr.startswith("seederfarm: nothing to seed") and result.stderr.count("\n") == 1
        assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"core {KEY}\nbee nonsense\n", "line 2: 8 characters that are not a key"),
        (f"core {KEY}\nbee {KEY}\n", "as core and as bee"),
        (None, "No such file"),
    ],
)
def test_a_bad_list_is_a_usage_error_that_names_the_place(
    content: str | None, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "seeds.txt"
    if content is not None:
        path.write_text(content)
    result = CliRunner().invoke(main, ["seed", "--file", str(path), "--data", str(tmp_path / "data")])
    assert result.exit_code == 2
    assert expected in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_seeders_lines_of_a_list_are_skipped_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "seeds.txt"
    path.write_text(f"# of simple-seeder\nseeders {KEY}\n")
    result = CliRunner().invoke(main, ["seed", "--file", str(path), "--data", str(tmp_path / "data")])
    assert result.exit_code == 2
    warning, failure = result.stderr.splitlines()
    assert warning.startswith(f"seederfarm: {path}, line 2: 'seeders' is skipped")
    assert failure.startswith("seederfarm: nothing to seed")


def test_a_bad_bootstrap_or_relay_in_the_environment_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["seed", KEY, "--data", str(tmp_path / "data")], env={"SEEDERFARM_BOOTSTRAP": "here"}
    )
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "seederfarm: SEEDERFARM_BOOTSTRAP: 'here' is not a bootstrap node: expected HOST:PORT"
    )
    result = CliRunner().invoke(
        main, ["seed", KEY, "--data", str(tmp_path / "data")], env={"SEEDERFARM_RELAY": "there"}
    )
    assert result.exit_code == 2
    assert result.stderr.startswith("seederfarm: SEEDERFARM_RELAY: ")
    assert not (tmp_path / "data").exists()


# --- what it cannot use


@pytest.mark.parametrize("as_json", [False, True])
def test_a_data_directory_in_use_is_one_line_and_in_json_an_event(as_json: bool, tmp_path: Path) -> None:
    with disk_store(tmp_path):
        done = run(KEY, "--data", str(tmp_path), *NOWHERE, *(["--json"] if as_json else []))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and str(tmp_path) in done.stderr
    if as_json:
        (line,) = done.stdout.splitlines()
        event = json.loads(line)
        assert (event["event"], event["key"], event["code"]) == ("error", None, "STORAGE_LOCKED")
    else:
        assert done.stdout == ""


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        port = taken.getsockname()[1]
        done = run(KEY, "--data", str(tmp_path), "--port", str(port), *NOWHERE)
    assert done.returncode == 1
    assert done.stderr == f"seederfarm: cannot use UDP port {port}: Address already in use\n"
    disk_store(tmp_path).close()


def test_a_broken_identity_is_one_line_and_is_kept(tmp_path: Path) -> None:
    (tmp_path / IDENTITY_FILE).write_text("what is this")
    done = run(KEY, "--data", str(tmp_path), *NOWHERE)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "identity" in done.stderr
    assert (tmp_path / IDENTITY_FILE).read_text() == "what is this"


# --- its life


def test_it_prints_its_identity_and_keeps_it(seeding: subprocess.Popen[str], tmp_path: Path) -> None:
    seeding.send_signal(signal.SIGTERM)
    assert seeding.wait(15) == 0
    first = load_identity(tmp_path / "data")
    done = subprocess.Popen(
        [*COMMAND, KEY, "--json", "--data", str(tmp_path / "data"), *NOWHERE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        ready = json.loads(_out(done).readline())
        assert ready["public_key"] == first.public_key.hex()
        assert ready["bootstrap"] == ["127.0.0.1:9"]
    finally:
        done.send_signal(signal.SIGINT)
        done.communicate(timeout=15)
    assert done.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_status_0_and_no_noise(
    number: signal.Signals, seeding: subprocess.Popen[str], tmp_path: Path
) -> None:
    seeding.send_signal(number)
    assert seeding.wait(15) == 0
    assert _errors(seeding) == ""
    disk_store(tmp_path / "data").close()


def test_a_key_that_no_peer_has_is_looked_for_without_end(seeding: subprocess.Popen[str]) -> None:
    time.sleep(1)
    assert seeding.poll() is None


@pytest.mark.parametrize("style", [["--json"], []], ids=["json", "plain"])
def test_it_ends_with_status_1_when_its_output_has_no_reader(style: list[str], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*COMMAND, KEY, *style, "--data", str(tmp_path), *NOWHERE],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            timeout=30,
            check=False,
        )
    finally:
        os.close(writing)
    assert done.returncode == 1
    assert without_nowhere(done.stderr) == "seederfarm: stopped: the reader of the output has gone\n"


def test_output_without_a_terminal_is_plain_lines(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, KEY, "--data", str(tmp_path), *NOWHERE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        out = _out(process)
        reported = [out.readline() for _ in range(3)]
    finally:
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=15)
    assert reported[0].startswith("on the network as ")
    assert reported[2] == "ababababab… looking for peers\n"
    assert "leaving the swarm" in rest
    assert errors == ""
    assert process.returncode == 0
