from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seederfarm.registry import checks
from seederfarm.settings import table

from ...support.databases import FarmDatabase
from ...support.postgres import free_port


def ids(found: object) -> list[str | None]:
    assert isinstance(found, list)
    assert all(message.hint for message in found), "every message says what to do"
    return [message.id for message in found]


def test_wrong_settings_are_errors(settings: Any) -> None:
    settings.LOADED = table.load({"SEEDERFARM_DEBUG": "perhaps", "DATABASE_URL": "nonsense"})
    assert ids(checks.settings_are_right()) == ["farm.E001", "farm.E001"]


def test_a_home_that_others_may_read_is_a_warning(settings: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings.FARM = replace(settings.FARM, home=home)
    assert ids(checks.home_is_usable()) == [], "it is made on first use"
    home.mkdir(mode=0o700)
    (home / "secret_key").touch(mode=0o600)
    assert ids(checks.home_is_usable()) == []
    home.chmod(0o755)
    (home / "secret_key").chmod(0o644)
    found = checks.home_is_usable()
    assert ids(found) == ["farm.W001", "farm.W001"]
    assert found[1].hint == f"chmod 600 {home / 'secret_key'}"


def test_a_home_that_is_a_file_is_an_error(settings: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    settings.FARM = replace(settings.FARM, home=path)
    assert ids(checks.home_is_usable()) == ["farm.E002"]


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
        assert ids(checks.what_others_reach_is_guarded()) == expected, changes


def test_the_database_is_looked_at_when_asked(database: FarmDatabase) -> None:
    assert ids(checks.database_is_reached()) == []
    assert ids(checks.database_is_reached(databases=["default"])) == []


def test_a_database_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        vendor = "postgresql"

        def ensure_connection(self) -> None:
            raise checks.DatabaseError("connection to server failed:\nConnection refused")

    monkeypatch.setattr(checks, "connections", {"default": Gone()})
    found = checks.database_is_reached(databases=["default"])
    assert ids(found) == ["farm.E003"]
    assert "Connection refused" in found[0].msg


def test_a_broker_that_is_not_there_is_an_error(settings: Any) -> None:
    farm = replace(settings.FARM, redis_url=f"redis://127.0.0.1:{free_port()}/0")
    assert ids(checks.check_broker(farm)) == ["farm.E004"]
    assert ids(checks.broker_is_reached()) == [], "the bundled one starts later"
