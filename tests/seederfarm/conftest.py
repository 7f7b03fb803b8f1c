"""Fixtures of the farm: its database on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from seederfarm.registry.buckets import Buckets

from ..support.databases import FarmDatabase
from ..support.postgres import Postgres


@pytest.fixture(autouse=True)
def fresh_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has all events that a day allows: rows of one test have the ids of those of another."""
    from seederfarm.control.history import event_budget
    from seederfarm.control.messaging import outbox
    from seederfarm.registry.services import log

    monkeypatch.setattr(event_budget, "budget", event_budget.EventBudget())
    monkeypatch.setattr(outbox, "refusals", event_budget.RefusalBudget())
    counts = {what: Buckets(log.SOURCE, log.MAX_SOURCES) for what in ("event", "audit")}
    monkeypatch.setattr(log, "_of_sources", counts)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def farm_database(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[FarmDatabase]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('database') / 'farm.sqlite3'}"
    else:
        server: Postgres = request.getfixturevalue("postgres_server")
        url = server.create_database("farm")
    with django_db_blocker.unblock():
        database = FarmDatabase(url)
    try:
        yield database
    finally:
        with django_db_blocker.unblock():
            database.close()
        if request.param == "postgresql":
            server.drop_database("farm")


@pytest.fixture
def database(farm_database: FarmDatabase, django_db_blocker: DjangoDbBlocker) -> Iterator[FarmDatabase]:
    """The farm's database, as it was after the test. Runs the test on SQLite and on PostgreSQL."""
    with django_db_blocker.unblock(), farm_database.rolled_back():
        yield farm_database


@pytest.fixture
def committing_database(
    farm_database: FarmDatabase, django_db_blocker: DjangoDbBlocker
) -> Iterator[FarmDatabase]:
    """The same with real commits, for threads and `on_commit`; emptied after the test."""
    with django_db_blocker.unblock(), farm_database.flushed():
        yield farm_database
