"""Without HOME, and under a number that no account has: containers run programs so."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hypercore import KeyPair, writable_drive
from hypercore.core import disk_store

from ....support.paths import ROOT

NOWHERE = "127.0.0.1:9"
UNKNOWN = """
import pwd, sys
def getpwuid(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = getpwuid
from seederfarm.cli import main
sys.argv[0] = "seederfarm"
main()
"""
"""The command line of a user without an account."""

KEY = "ab" * 32


def run(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"]} | ({} if home is None else {"SEEDERFARM_HOME": str(home)})
    return subprocess.run(
        [sys.executable, "-c", UNKNOWN, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environ,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["seed", KEY],
        ["publish", str(ROOT / "docs")],
        ["ls", KEY],
        ["cat", KEY, "/x"],
        ["get", KEY, "-o", "/nowhere"],
        ["verify"],
        ["up"],
        ["status"],
        ["init"],
        ["list"],
        ["config", "get"],
        ["worker", "run"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]) if arguments[0] in ("worker", "config") else arguments[0],
)
def test_one_line_says_what_to_set(arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert "no home directory is known" in ended.stderr and "set SEEDERFARM_HOME" in ended.stderr


def test_with_a_home_given_everything_works(tmp_path: Path) -> None:
    with disk_store(tmp_path / "data") as store:
        drive = writable_drive(store, KeyPair.from_seed(bytes(32)))
        drive.writer.put("/file", b"x")
        key = drive.key.hex()
    folder = tmp_path / "folder"
    folder.mkdir()
    for arguments in (
        ["seed", key, "--until-synced", "--bootstrap", NOWHERE],
        ["ls", key],
        ["get", key, "-o", str(tmp_path / "out")],
        ["verify"],
        ["keygen"],
        ["init"],
        ["add", key],
        ["list"],
        ["config", "get"],
    ):
        ended = run(*arguments, home=tmp_path)
        assert ended.returncode == 0, (arguments, ended.stderr)
        assert "Traceback" not in ended.stderr


def checkout_in(tmp_path: Path) -> tuple[Path, Path]:
    """The script with an environment whose Python writes down what it is asked. Returns both."""
    place = tmp_path / "checkout"
    (place / "hypercore-py").mkdir(parents=True)
    (place / "requirements").mkdir()
    shutil.copy(ROOT / "farm", place / "farm")
    for name in ("pyproject.toml", "hypercore-py/pyproject.toml", "requirements/base.txt"):
        shutil.copy(ROOT / name, place / name)
    package = place / "seederfarm"
    package.mkdir()
    (package / "__init__.py").touch()
    programs = place / ".venv" / "bin"
    programs.mkdir(parents=True)
    seen = tmp_path / "seen"
    (programs / "python").write_text(f'#!/bin/sh\necho "$PIP_NO_CACHE_DIR $*" >>{seen}\n')
    (programs / "seederfarm").write_text('#!/bin/sh\necho "seederfarm $*"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    return place, seen


def ask_script(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(place / "farm"), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        cwd=place.parent,
        check=False,
    )


def installs(seen: Path) -> list[str]:
    lines = seen.read_text().splitlines() if seen.exists() else []
    return [line for line in lines if "pip install" in line]


def test_the_script_makes_no_directory_called_tilde(tmp_path: Path) -> None:
    """Without a home, pip would make its cache in one."""
    place, seen = checkout_in(tmp_path)
    ended = ask_script(place, "seed", KEY)
    assert (ended.returncode, ended.stdout) == (0, f"seederfarm seed {KEY}\n"), ended.stderr
    assert installs(seen) and all(line.startswith("1 ") for line in installs(seen))


def test_another_user_sees_whose_checkout_it_is() -> None:
    with tempfile.TemporaryDirectory() as text:  # pytest's own are closed to other users
        place, seen = checkout_in(Path(text))
        (place / "requirements" / "control.txt").touch()
        for path in (place, place.parent):
            path.chmod(0o555)
        try:
            ended = subprocess.run(
                [str(place / "farm"), "status"],
                capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, cwd=place, check=False,
                user=65534 if os.geteuid() == 0 else None,
            )  # fmt: skip
        finally:
            for path in (place.parent, place):
                path.chmod(0o755)
        assert ended.returncode == 1 and not installs(seen)
        assert f"which belongs to {place.owner()}: run this as" in ended.stderr
        assert "python3-venv" not in ended.stderr


SETS = (("seed", KEY), ("worker", "run"), ("status",), ("lint",))
"""Commands that need the base, a worker, the farm, all: each contains those before it."""


@pytest.mark.parametrize("larger", range(1, 4))
def test_a_set_that_contains_what_a_command_needs_is_enough(tmp_path: Path, larger: int) -> None:
    """A lone peer beside a farm: pip would replace packages of processes that run."""
    place, seen = checkout_in(tmp_path)
    for name in ("worker", "control", "dev"):
        (place / "requirements" / f"{name}.txt").write_text(f"# {name}\n")
    ask_script(place, *SETS[larger])
    assert installs(seen)
    for command in SETS[:larger]:
        seen.unlink()
        ended = ask_script(place, *command)
        assert (ended.returncode, ended.stdout) == (0, f"seederfarm {' '.join(command)}\n"), ended.stderr
        assert (ended.stderr, installs(seen)) == ("", [])
    for command in SETS[larger + 1 :]:
        seen.unlink()
        ask_script(place, *command)
        assert installs(seen), command

    (place / "another").mkdir()
    (place / "another" / "__init__.py").touch()
    seen.unlink()
    ask_script(place, *SETS[0])
    assert installs(seen), "no set is as it is now"


def test_the_script_installs_nothing_under_processes_that_run(tmp_path: Path) -> None:
    """They import as they go, and would have a bit of the old and a bit of the new."""
    place, seen = checkout_in(tmp_path)
    assert ask_script(place, "seed", KEY).returncode == 0
    python = place / ".venv" / "bin" / "python"
    python.write_text(python.read_text() + '[ "$1" = stay ] && sleep 100\nexit 0\n')
    with subprocess.Popen([python, "stay"], start_new_session=True) as process:
        try:
            seen.unlink()
            package = place / "another"
            package.mkdir()
            (package / "__init__.py").touch()
            assert ask_script(place, "seed", KEY).returncode == 0, (
                "the same pins: what runs keeps what it has"
            )
            assert installs(seen)

            seen.unlink()
            requirements = place / "requirements" / "base.txt"
            requirements.write_text(requirements.read_text() + "# another pin\n")
            ended = ask_script(place, "seed", KEY)
            assert (ended.returncode, ended.stdout) == (1, "")
            (line,) = ended.stderr.splitlines()
            assert f"({process.pid})" in line and "./farm down" in line
            assert installs(seen) == []
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    ended = ask_script(place, "seed", KEY)
    assert ended.returncode == 0 and installs(seen), ended.stderr
