"""Bootstrap nodes that can be none are refused before anything is written or started."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from seederfarm.cli import main

KEY = "ab" * 32

COMMANDS = [
    ["seed", KEY],
    ["ls", KEY],
    ["cat", KEY, "/a"],
    ["get", KEY, "-o", "out"],
    ["publish", "folder"],
    ["worker", "run"],
]

ONE_LINE = "is not a bootstrap node: expected "


def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str, **env: str) -> tuple[int, str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    home = {"SEEDERFARM_HOME": str(tmp_path / "home"), "SEEDERFARM_BOOTSTRAP": ""}
    result = CliRunner().invoke(main, [*arguments, "--data", str(tmp_path / "data")], env=home | env)
    assert not (tmp_path / "data").exists() and not (tmp_path / "out").exists()
    return result.exit_code, result.stderr


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("text", ["nowhere", "a b:1", "[::1]:49737", "1.2.3:4"])
def test_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], text: str) -> None:
    status, reported = invoke(tmp_path, monkeypatch, *command, "--bootstrap", text)
    assert status == 2
    assert f"--bootstrap: {text!r} {ONE_LINE}" in reported and reported.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    status, reported = invoke(tmp_path, monkeypatch, *command, SEEDERFARM_BOOTSTRAP="127.0.0.1:1,here")
    assert status == 2
    assert f"SEEDERFARM_BOOTSTRAP: 'here' {ONE_LINE}" in reported and reported.count("\n") == 1


def test_environment_of_a_farm(tmp_path: Path) -> None:
    env = {"SEEDERFARM_HOME": str(tmp_path / "home"), "SEEDERFARM_BOOTSTRAP": "127.0.0.1:1,a..b:2"}
    for command in ("up", "status", "init"):
        result = CliRunner().invoke(main, [command], env=env)
        assert result.exit_code == 2, command
        assert "SEEDERFARM_BOOTSTRAP" in result.stderr and ONE_LINE in result.stderr
        assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("command", [["ls", KEY], ["cat", KEY, "/a"], ["get", KEY, "-o", "out"]])
def test_readers_report_a_name_that_does_not_resolve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    arguments = [*command, "--bootstrap", "no-such-node.invalid:49737", "--timeout", "2"]
    status, reported = invoke(tmp_path, monkeypatch, *arguments)
    assert status == 1
    assert "no-such-node.invalid does not resolve" in reported
