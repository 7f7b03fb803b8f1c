from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from seederfarm.containers import health, roles


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "seederfarm.containers", *arguments]
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | environ
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("arguments", [(), ("help",), ("redis",)])
def test_an_unknown_role_is_refused_with_the_known_ones(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*arguments, SEEDERFARM_HOME=str(tmp_path))
    assert done.returncode == 1
    assert (
        "expected one of init, migrate, web, control, beat, sources, worker, gateway, flower" in done.stderr
    )


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    done = run("web", SEEDERFARM_HOME=str(tmp_path), DATABASE_URL_FILE=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "DATABASE_URL_FILE names" in done.stderr and "No such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_migrate_puts_the_password_into_a_file_of_the_farm_and_prints_its_place(tmp_path: Path) -> None:
    done = run("migrate", SEEDERFARM_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    path = tmp_path / roles.PASSWORD_FILE
    password = path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600 and len(password) >= 16
    assert str(path) in done.stdout and password not in done.stdout + done.stderr
    path.unlink()
    assert run("migrate", SEEDERFARM_HOME=str(tmp_path)).returncode == 0
    assert not path.exists(), "a second run makes no account"


def test_a_database_of_a_newer_version_is_refused_at_once_and_unchanged(tmp_path: Path) -> None:
    assert run("migrate", SEEDERFARM_HOME=str(tmp_path)).returncode == 0
    database = sqlite3.connect(tmp_path / "farm.sqlite3")
    with database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) "
            "VALUES ('registry', '0999_later', '2030-01-01')"
        )
    before = database.execute("SELECT count(*) FROM django_migrations").fetchone()
    done = run("migrate", SEEDERFARM_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "made by a newer version of Seeder Farm (registry.0999_later)" in done.stderr
    assert database.execute("SELECT count(*) FROM django_migrations").fetchone() == before


@pytest.mark.parametrize(("role", "kept"), [("web", True), ("gateway", False), ("worker", False)])
def test_a_role_that_handles_bytes_of_peers_gets_no_secret(
    role: str, kept: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "redis_url"
    secret.write_text("redis://farm:hunter2@redis:6379/0\n")
    monkeypatch.setenv("SEEDERFARM_HOME", str(tmp_path))
    monkeypatch.setenv("REDIS_URL_FILE", str(secret))
    monkeypatch.setattr(roles, "READY", tmp_path / "ready")
    became: list[tuple[str, ...] | dict[str, str]] = []
    monkeypatch.setattr(os, "execvpe", lambda file, argv, env: became.extend((argv, env)))
    roles.become(role)
    _, env = became
    assert isinstance(env, dict)
    assert ("REDIS_URL_FILE" in env) is kept
    assert "hunter2" not in json.dumps(became)
    os.close(int(env["SEEDERFARM_READY_FD"]))


def test_a_process_is_well_once_it_has_reported_that_it_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = tmp_path / "ready"
    monkeypatch.setattr(health, "READY", ready)
    assert "does not answer" in health.problem("control")
    ready.touch()
    assert health.problem("control") == "control has not reported that it is ready"
    ready.write_text("\n")
    assert health.problem("control") == ""


def test_the_gateway_is_well_while_it_takes_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "HOME", tmp_path)
    assert "does not answer" in health.problem("gateway")
