"""Every command with every broken output: no traceback, no hang, and a status that says whether it worked."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypercore import KeyPair, writable_drive
from hypercore.core import disk_store

from ....support import seed_process as commands
from ....support.waiting import eventually

TIMEOUT = 40.0
NOWHERE = "127.0.0.1:9"
"""A DHT node that does not answer."""


class Place:
    """A home with a drive whose names need Unicode, and a farm that was never started."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "folder"
        self.folder.mkdir(parents=True)
        (self.folder / "naïve ☃").write_bytes(b"x")
        with disk_store(home / "data") as store:
            drive = writable_drive(store, KeyPair.from_seed(bytes(32)))
            with drive.writer.batch() as batch:
                batch.put("/naïve ☃", [b"x" * 65_536] * 40)
                for number in range(2_000):
                    batch.put(f"/{number:04} {'é' * 40}", b"")
            self.key = drive.key.hex()

    def sh(
        self, arguments: list[str], redirection: str = "", **environ: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `seederfarm ARGUMENTS REDIRECTION` in a shell; the status is that of the command."""
        line = " ".join(shlex.quote(part.format(**self.names)) for part in [*commands.COMMAND, *arguments])
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line} {redirection}"],
            env=commands.environment() | {"SEEDERFARM_HOME": str(self.home)} | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )

    @property
    def names(self) -> dict[str, str]:
        return {"key": self.key, "home": str(self.home), "folder": str(self.folder), "nowhere": NOWHERE}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("streams") / "naïve ☃ home")


@pytest.fixture(scope="module")
def farm(place: Place) -> Place:
    made = place.sh(["init"])
    assert made.returncode == 0, made.stderr.decode()
    added = place.sh(["add", "{key}"])
    assert added.returncode == 0, added.stderr.decode()
    return place


LONE = {
    "help": ["--help"],
    "ls": ["ls", "{key}"],
    "ls -l": ["ls", "-l", "{key}"],
    "ls --json": ["ls", "--json", "{key}"],
    "cat": ["cat", "{key}", "/naïve ☃"],
    "verify": ["verify"],
    "keygen": ["keygen"],
    "keygen --json": ["keygen", "--json"],
    "seed": ["seed", "{key}", "--until-synced", "--bootstrap", "{nowhere}"],
    "seed --json": ["seed", "{key}", "--until-synced", "--json", "--bootstrap", "{nowhere}"],
}
SILENT = {
    "get": ["get", "{key}", "-o", "{home}/out"],
    "seed -q": ["seed", "-q", "{key}", "--until-synced", "--bootstrap", "{nowhere}"],
}
"""Commands that print nothing on standard output."""

OF_FARM = {
    "list": ["list"],
    "list --json": ["list", "--json"],
    "show": ["show", "{key}"],
    "workers": ["workers"],
    "sources": ["sources"],
    "export": ["export"],
    "config get": ["config", "get"],
    "dashboard": ["dashboard"],
}

ENCODINGS = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


def check_quiet(ended: subprocess.CompletedProcess[bytes]) -> None:
    reported = ended.stderr.decode("utf-8", "replace")
    assert (
        "Traceback" not in reported and "Exception ignored" not in reported and "Fatal Python" not in reported
    ), reported
    assert reported.count("\n") <= 3, reported


def check_output_lost(place: Place, arguments: list[str]) -> None:
    """Where standard output cannot be written, and where its reader leaves."""
    for redirection in (">&-", ">/dev/full", ">&- 2>&-"):
        ended = place.sh(arguments, redirection)
        check_quiet(ended)
        assert ended.returncode == 1, redirection
        if "2>&-" not in redirection:
            assert b"standard output" in ended.stderr, redirection
    ended = place.sh(arguments, "| head -n 1 >/dev/null")
    check_quiet(ended)
    assert ended.returncode in (0, 1)


def check_errors_lost(place: Place, arguments: list[str], status: int = 0) -> None:
    """Where standard error cannot be written: the status stays what it is."""
    for redirection in ("2>&-", "2>/dev/full"):
        assert place.sh(arguments, redirection).returncode == status, redirection


@pytest.mark.parametrize("name", LONE)
def test_lost_output_of_a_lone_command(place: Place, name: str) -> None:
    check_output_lost(place, LONE[name])
    check_errors_lost(place, LONE[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_FARM)
def test_lost_output_of_a_command_of_the_farm(farm: Place, name: str) -> None:
    check_output_lost(farm, OF_FARM[name])
    check_errors_lost(farm, OF_FARM[name])


@pytest.mark.parametrize("name", SILENT)
def test_a_command_that_prints_nothing_needs_no_output(place: Place, name: str) -> None:
    for redirection in (">&-", ">/dev/full", "2>&-", ">&- 2>&- <&-"):
        ended = place.sh(SILENT[name], redirection)
        check_quiet(ended)
        assert ended.returncode == 0, (redirection, ended.stderr)


@pytest.mark.parametrize(
    "arguments", [["cat", "{key}", "/nothing"], ["ls", "not-a-key"], ["ls", "--nonsense"], ["status"]]
)
def test_a_failure_without_a_reader_keeps_its_status(place: Place, arguments: list[str]) -> None:
    status = place.sh(arguments).returncode
    assert status in (1, 2)
    check_errors_lost(place, arguments, status)


@pytest.mark.parametrize("environ", ENCODINGS, ids=["ascii", "latin-1", "C"])
@pytest.mark.parametrize("name", [*LONE, *SILENT])
def test_encodings_of_lone_commands(place: Place, name: str, environ: dict[str, str]) -> None:
    check_encoding(place, (LONE | SILENT)[name], environ)


@pytest.mark.slow
@pytest.mark.parametrize("environ", ENCODINGS, ids=["ascii", "latin-1", "C"])
@pytest.mark.parametrize("name", ["list", "show", "config get", "workers"])
def test_encodings_of_commands_of_the_farm(farm: Place, name: str, environ: dict[str, str]) -> None:
    check_encoding(farm, OF_FARM[name], environ)


def check_encoding(place: Place, arguments: list[str], environ: dict[str, str]) -> None:
    ended = place.sh(arguments, **environ)
    check_quiet(ended)
    assert ended.returncode == 0, ended.stderr
    if environ.get("PYTHONIOENCODING") == "ascii" and arguments[0] != "cat":
        assert ended.stdout.isascii() and ended.stderr.isascii()


def test_a_pipe_that_does_not_block_loses_nothing(place: Place) -> None:
    out, into = os.pipe()
    os.set_blocking(into, False)
    process = subprocess.Popen(
        [*commands.COMMAND, "cat", place.key, "/naïve ☃"],
        stdout=into,
        stderr=subprocess.PIPE,
        env=commands.environment() | {"SEEDERFARM_HOME": str(place.home)},
    )
    os.close(into)
    time.sleep(0.5)
    with open(out, "rb") as reader:  # noqa: PTH123 - a descriptor
        assert len(reader.read()) == 40 * 65_536
    assert process.communicate(timeout=TIMEOUT)[1] == b""
    assert process.returncode == 0


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for this signal yet."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)[1], 16)  # type: ignore[index]
    return bool(caught >> (number - 1) & 1)


@pytest.fixture
def seeding(place: Place) -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["plain", "json"])
def test_a_reader_that_stopped_reading_does_not_hold_up_the_end(
    place: Place, options: list[str], seeding: list[subprocess.Popen[bytes]]
) -> None:
    out, into = os.pipe()
    os.set_blocking(into, False)
    try:
        while True:
            os.write(into, b"x" * 4096)
    except BlockingIOError:
        pass
    os.set_blocking(into, True)
    process = subprocess.Popen(
        [*commands.COMMAND, "seed", place.key, "--bootstrap", NOWHERE, *options],
        stdout=into,
        stderr=subprocess.PIPE,
        env=commands.environment() | {"SEEDERFARM_HOME": str(place.home)},
    )
    seeding.append(process)
    eventually(lambda: catches(process.pid, signal.SIGTERM), timeout=TIMEOUT, what="its signal handlers")
    time.sleep(1)  # it has more to say by then, most likely
    process.send_signal(signal.SIGTERM)
    _, reported = process.communicate(timeout=TIMEOUT)
    assert process.returncode >= 0, "it was not aborted"
    assert b"Traceback" not in reported and b"Fatal" not in reported, reported
    os.close(out)
    os.close(into)
