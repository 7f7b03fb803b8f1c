"""`seederfarm backup` and `restore` with PostgreSQL."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from seederfarm.backup import manifest as manifests

from ...support.farm_home import FarmHome, OneProcessHome
from ...support.postgres import Postgres
from .test_backup import KEY, change


@pytest.fixture(scope="module")
def made(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A backup of a farm in the database `backups`; its home is gone."""
    folder = tmp_path_factory.mktemp("backup")
    farm = OneProcessHome(folder / "home", DATABASE_URL=postgres_server.create_database("backups"))
    try:
        farm.lines("init")
        farm.lines("add", KEY)
        farm.lines("tokens", "add", "a \\ and ’")
        done = farm.run("backup", str(folder / "backup"))
        assert done.returncode == 0, done.stderr
    finally:
        farm.dispose()
    yield folder / "backup"
    postgres_server.drop_database("backups")


@pytest.fixture
def backup(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "backup")
    return tmp_path / "backup"


@pytest.fixture
def database(postgres_server: Postgres, made: Path) -> Iterator[Callable[..., str]]:
    """Makes the database `restored`, empty or with the farm that the backup is of."""

    def make(*, empty: bool = True) -> str:
        postgres_server.sql(f"CREATE DATABASE restored TEMPLATE {'template0' if empty else 'backups'}")
        return postgres_server.url("restored")

    yield make
    postgres_server.drop_database("restored")


def manifest_of(backup: Path) -> dict[str, Any]:
    return dict(json.loads((backup / manifests.MANIFEST).read_text()))


def rows(url: str, query: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def test_a_destroyed_farm_is_as_before_on_a_new_server(
    database: Callable[..., str], backup: Path, tmp_path: Path
) -> None:
    farm = FarmHome(tmp_path / "home", DATABASE_URL=database())
    done = farm.run("restore", str(backup))
    assert done.returncode == 0, done.stderr
    commands = OneProcessHome(farm.home, beside=farm)
    try:
        assert commands.run("backup", str(tmp_path / "again")).returncode == 0
        commands.lines("add", "cd" * 32)  # sequences go on where they were
        assert len(commands.lines("list")) == 2
    finally:
        commands.dispose()
    before, after = manifest_of(backup), manifest_of(tmp_path / "again")
    assert "registry/registry_drive.copy" in before["files"] and "home/control_key" in before["files"]
    assert before["files"]["registry/registry_drive.copy"]["bytes"] > 0
    assert (after["files"], after["tables"]) == (before["files"], before["tables"])
    assert sorted(after["migrations"]) == sorted(before["migrations"])


def test_a_database_with_a_farm_or_in_use_is_refused_and_unchanged(
    database: Callable[..., str], backup: Path, tmp_path: Path
) -> None:
    url = database(empty=False)
    farm = FarmHome(tmp_path / "home", DATABASE_URL=url)
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM registry_apitoken")
    done = farm.run("restore", str(backup))
    assert done.returncode == 1
    assert "the database restored has a farm in it" in done.stderr
    with psycopg.connect(url):
        done = farm.run("restore", str(backup), "--replace")
        assert "1 other connection" in done.stderr
    broken = tmp_path / "broken"
    shutil.copytree(backup, broken)
    (broken / "registry" / "registry_drive.copy").write_text("no row of that table\n")
    change(broken)
    done = farm.run("restore", str(broken), "--replace")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "nothing was restored" in done.stderr
    assert rows(url, "SELECT count(*) FROM registry_drive") == [(1,)]
    assert rows(url, "SELECT count(*) FROM registry_apitoken") == [(0,)]
    assert not farm.home.exists()

    done = farm.run("restore", str(backup), "--replace")
    assert done.returncode == 0, done.stderr
    assert rows(url, "SELECT name FROM registry_apitoken") == [("a \\ and ’",)]


def test_the_registry_of_an_older_version_is_migrated(
    database: Callable[..., str], backup: Path, tmp_path: Path
) -> None:
    url = database()
    (backup / "registry" / "django_session.copy").unlink()
    found = manifest_of(backup)
    found["tables"].pop("django_session")
    applied = [row for row in found["migrations"] if row[0] != "sessions"]
    change(backup, tables=found["tables"], migrations=applied)
    (done,) = FarmHome(tmp_path / "home", DATABASE_URL=url).lines("restore", str(backup))
    assert done["migrated"] == ["sessions.0001_initial"]
    assert rows(url, "SELECT count(*) FROM django_session") == [(0,)]


def test_a_backup_of_a_farm_on_another_kind_of_database_is_refused(backup: Path, tmp_path: Path) -> None:
    done = FarmHome(tmp_path / "home").run("restore", str(backup))
    assert done.returncode == 1
    assert "it is of a farm on postgresql, and DATABASE_URL names sqlite" in done.stderr
    assert not (tmp_path / "home").exists()
