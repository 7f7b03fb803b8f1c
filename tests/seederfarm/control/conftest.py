"""Fixtures of the control plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker

from seederfarm.control.messaging.celery_broker import CeleryBroker
from seederfarm.control.messaging.outbox import outbox

from ...support.databases import FarmDatabase, migrated_once
from ...support.redis import RedisServer
from .fakes import FakeBroker


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    fake = FakeBroker()
    with outbox.through(fake):
        yield fake


@pytest.fixture
def farm(committing_database: FarmDatabase, broker: FakeBroker) -> FakeBroker:
    """A database with real commits, on SQLite and on PostgreSQL, and the broker of its control plane."""
    return broker


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 5, 17, 12, 0, tzinfo=UTC)


StartBroker = Callable[[RedisServer], RedisServer]


@pytest.fixture(scope="module")
def migrated(
    tmp_path_factory: pytest.TempPathFactory, migrated_file: Path, django_db_blocker: DjangoDbBlocker
) -> Iterator[FarmDatabase]:
    path: Path = tmp_path_factory.mktemp("registry") / "farm.sqlite3"
    with django_db_blocker.unblock():
        database = FarmDatabase(migrated_once(path, migrated_file), migrate=False)
        yield database
        database.close()


@pytest.fixture
def registry(migrated: FarmDatabase, django_db_blocker: DjangoDbBlocker) -> Iterator[FarmDatabase]:
    """On SQLite: what is tested here is Redis. Emptied after the test."""
    with django_db_blocker.unblock(), migrated.flushed():
        yield migrated


@pytest.fixture
def start_broker(settings: Any, registry: FarmDatabase, processes: ExitStack) -> StartBroker:
    """`start_broker(server)` starts it and makes it the farm's broker."""

    def start(server: RedisServer, **changes: Any) -> RedisServer:
        processes.callback(server.dispose)
        server.start()
        settings.FARM = replace(settings.FARM, redis_url=server.url, **changes)
        processes.enter_context(outbox.through(CeleryBroker()))
        return server

    return start
