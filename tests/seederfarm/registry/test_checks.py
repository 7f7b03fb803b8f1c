from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper

from seederfarm.control.messaging import identity
from seederfarm.registry import checks
from seederfarm.settings import base, env, table
from seederfarm.settings.load import load
from seederfarm.supervisor.home import RunFiles
from seederfarm.supervisor.programs.worker import token_file

from ...support.databases import FarmDatabase
from ...support.paths import ROOT
from ...support.ports import free_port
from ...support.postgres import Postgres
from ...support.redis import RedisServer


def ids(found: object) -> list[str | None]:
    assert isinstance(found, list)
    assert all(message.hint for message in found), "every message says what to do"
    return [message.id for message in found]


def test_wrong_settings_are_errors(settings: Any) -> None:
    settings.LOADED = load({"SEEDERFARM_DEBUG": "perhaps", "DATABASE_URL": "nonsense"})
    assert ids(checks.check_settings()) == ["farm.E001", "farm.E001"]


def test_a_home_that_others_may_read_is_a_warning(settings: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings.FARM = replace(settings.FARM, home=home)
    assert ids(checks.check_home()) == [], "it is made on first use"
    home.mkdir(mode=0o700)
    (home / "secret_key").touch(mode=0o600)
    assert ids(checks.check_home()) == []
    home.chmod(0o755)
    (home / "secret_key").chmod(0o644)
    found = checks.check_home()
    assert ids(found) == ["farm.W001", "farm.W001"]
    assert found[1].hint == f"chmod 600 {home / 'secret_key'}"


@pytest.mark.parametrize(
    "name",
    ["control_key", "flower_secret", "secret_key", "seederfarm.toml", "farm.sqlite3", "farm.sqlite3-wal"],
)
def test_every_secret_of_the_home_is_looked_at(settings: Any, tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o700)
    settings.FARM = table.FarmSettings(home=tmp_path)
    path = tmp_path / name
    path.touch()
    path.chmod(0o600)
    assert ids(checks.check_home()) == []
    path.chmod(0o640)
    (found,) = checks.check_home()
    assert found.hint == f"chmod 600 {path}"


def test_directories_and_files_that_hold_secrets_are_looked_at(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, login = tmp_path / "home", tmp_path / "redis url"
    (home / "worker").mkdir(parents=True)
    home.chmod(0o700)
    login.touch()
    for path, mode in ((home / "worker", 0o700), (login, 0o600)):
        path.chmod(mode)
    settings.FARM = table.FarmSettings(home=home)
    monkeypatch.setenv("REDIS_URL_FILE", str(login))
    assert ids(checks.check_home()) == []
    (home / "worker").chmod(0o755)
    login.chmod(0o604)
    hints = [message.hint for message in checks.check_home()]
    assert hints == [f"chmod 700 {home / 'worker'}", f"chmod 600 '{login}'"]


def test_the_names_that_are_looked_at_are_those_that_are_used(tmp_path: Path) -> None:
    used = {identity.KEY_FILE, RunFiles(tmp_path).flower_secret.name, table.CONFIG_FILE, "secret_key"}
    assert set(checks.PRIVATE_FILES) == used
    table.FarmSettings(home=tmp_path).secret_key()
    assert (tmp_path / "secret_key").exists()
    assert token_file(tmp_path).parent.name in checks.PRIVATE_DIRECTORIES


def test_hints_name_only_what_is_there(settings: Any) -> None:
    settings.FARM = replace(settings.FARM, allowed_hosts=("farm.example",), https=False)
    (found,) = checks.check_exposure()
    named = re.findall(r"docs/[\w/.]+", str(found.hint))
    assert named and all((ROOT / name).is_file() for name in named)
    assert "SEEDERFARM_HTTPS=true" in (ROOT / "docs/security.md").read_text()


def test_a_home_that_is_a_file_is_an_error(settings: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    settings.FARM = replace(settings.FARM, home=path)
    assert ids(checks.check_home()) == ["farm.E002"]


def test_what_others_reach_is_looked_at(settings: Any) -> None:
    farm = replace(settings.FARM, secret="")
    for changes, expected in (
        ({}, []),
        ({"allowed_hosts": ("farm.example",), "https": True}, []),
        ({"allowed_hosts": ("farm.example",)}, ["farm.W003"]),
        ({"allowed_hosts": ("farm.example",), "https": True, "debug": True}, ["farm.W002"]),
        ({"debug": True}, []),
        ({"secret": "short"}, ["farm.W004"]),
        ({"heartbeat": 100.0, "worker_grace": 200.0}, ["farm.W005"]),
    ):
        settings.FARM = replace(farm, **changes)
        assert ids(checks.check_exposure()) == expected, changes


def test_the_database_is_looked_at_when_asked(database: FarmDatabase) -> None:
    assert ids(checks.check_database()) == []
    assert ids(checks.check_database(databases=["default"])) == []


def test_a_database_that_is_not_there_or_does_not_let_us_in_is_an_error_that_says_so(
    postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_server.url()
    for wrong, reported in (
        (url.replace(f":{postgres_server.port}/", f":{free_port()}/"), "Connection refused"),
        (url.replace("farm-tests", "guessed"), 'password authentication failed for user "farm"'),
        (url.replace("/postgres", "/nowhere"), 'database "nowhere" does not exist'),
    ):
        given = base.database(table.FarmSettings(database=env.database(wrong)), wrong=False)
        wrapper = DatabaseWrapper(connections.configure_settings({"default": given})["default"])
        monkeypatch.setattr(checks, "connections", {"default": wrapper})
        found = checks.check_database(databases=["default"])
        assert ids(found) == ["farm.E003"]
        assert reported in found[0].msg and "\n" not in found[0].msg


def test_a_broker_that_is_not_there_is_an_error(settings: Any) -> None:
    farm = replace(settings.FARM, redis_url=f"redis://127.0.0.1:{free_port()}/0")
    assert ids(checks.check_broker(farm)) == ["farm.E004"]
    assert ids(checks.broker_is_reached()) == [], "the bundled one starts later"
    farm = replace(settings.FARM, redis_url="unix:///nowhere/redis.sock")
    (found,) = checks.check_broker(farm)
    assert "/nowhere/redis.sock" in found.msg


def test_a_broker_that_does_not_let_us_in_is_an_error_that_reports_no_password(
    settings: Any, redis_program: str
) -> None:
    server = RedisServer(password="s3cret!")
    server.start()
    try:
        for url in (server.url.replace("s3cret", "gue55ed"), f"redis://127.0.0.1:{server.port}/0"):
            (found,) = checks.check_broker(replace(settings.FARM, redis_url=url))
            assert found.id == "farm.E004" and "password" in str(found.hint)
            assert f"127.0.0.1:{server.port} refuses us" in found.msg
            assert "gue55ed" not in found.msg
        warned_of_age = ["farm.W006"] if server.version < (7, 0) else []
        assert ids(checks.check_broker(replace(settings.FARM, redis_url=server.url))) == warned_of_age
    finally:
        server.dispose()


@contextmanager
def redis_that_answers(version: str) -> Iterator[str]:
    """The URL of a server that knows one command: what it is."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            info = b"redis_version:%s\r\n" % version.encode()
            with connection:
                while asked := connection.recv(4096):
                    for command in asked.split(b"*")[1:]:
                        bulk = b"$%d\r\n%s\r\n" % (len(info), info)
                        connection.sendall(bulk if b"INFO" in command.split(b"\r\n") else b"+OK\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0?protocol=2"
        thread.join(20)


def test_a_broker_that_is_too_old_is_an_error_and_one_that_is_old_a_warning(settings: Any) -> None:
    with redis_that_answers("6.0.16") as url:
        (found,) = checks.check_broker(replace(settings.FARM, redis_url=url))
    assert found.id == "farm.E004"
    assert "6.0.16" in found.msg and "6.2" in str(found.hint)
    with redis_that_answers("6.2.14") as url:
        (found,) = checks.check_broker(replace(settings.FARM, redis_url=url))
    assert found.id == "farm.W006" and "events" in found.msg
    for version, accounts in (("6.2.14", "off"), ("7.0.0", "auto")):
        with redis_that_answers(version) as url:
            farm = replace(settings.FARM, redis_url=url, broker_accounts=accounts)
            assert checks.check_broker(farm) == []
