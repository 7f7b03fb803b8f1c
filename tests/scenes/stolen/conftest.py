"""Fixtures: a farm whose broker is a Redis of the test's."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker

from ...support.control_processes import ControlPlane, WorkersOf
from ...support.databases import FarmDatabase
from ...support.postgres import Postgres
from ...support.redis import RedisServer
from .thief import PASSWORD, Farm


def farm_on(
    url: str | None,
    bootstrap: list[str],
    processes: ExitStack,
    tmp_path: Path,
    django_db_blocker: DjangoDbBlocker,
) -> Farm:
    """Control, beat and two workers. `url`: of the database; None: SQLite, in its home."""
    server = RedisServer(password=PASSWORD)
    processes.callback(server.dispose)
    server.start()
    more = {} if url is None else {"DATABASE_URL": url}
    plane = ControlPlane(tmp_path, bootstrap=bootstrap, REDIS_URL=server.url, **more)
    processes.callback(plane.dispose)
    processes.enter_context(django_db_blocker.unblock())
    # The pool of `default` may belong to the database of an earlier test in this process
    database = FarmDatabase(url or f"sqlite:///{plane.farm.database_path}", pooled=False)
    processes.callback(database.close)
    processes.enter_context(database.in_place())
    workers = WorkersOf(plane.home, tmp_path, bootstrap)
    processes.callback(workers.dispose)
    plane.control()
    plane.beat()
    workers.start("alice", "bob")
    return Farm(server, plane, workers, tmp_path)


@pytest.fixture
def farm(
    redis_program: str,
    bootstrap: list[str],
    processes: ExitStack,
    tmp_path: Path,
    django_db_blocker: DjangoDbBlocker,
) -> Farm:
    return farm_on(None, bootstrap, processes, tmp_path, django_db_blocker)


@pytest.fixture
def farm_on_postgres(
    redis_program: str,
    postgres_server: Postgres,
    bootstrap: list[str],
    processes: ExitStack,
    tmp_path: Path,
    django_db_blocker: DjangoDbBlocker,
) -> Farm:
    url = postgres_server.create_database("stolen")
    processes.callback(postgres_server.drop_database, "stolen")
    return farm_on(url, bootstrap, processes, tmp_path, django_db_blocker)
