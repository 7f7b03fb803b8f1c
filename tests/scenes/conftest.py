"""A farm's own PostgreSQL and Redis, which scenes stop and start, and its processes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from pytest_django import DjangoDbBlocker

from seederfarm.settings.load import load

from ..support import evidence, postgres
from ..support.control_processes import QUICK, ControlPlane, WorkersOf, online, workers_state
from ..support.databases import FarmDatabase
from ..support.farm_home import FarmHome
from ..support.postgres import Postgres
from ..support.redis import RedisServer
from ..support.waiting import eventually

NewPlane = Callable[..., ControlPlane]
NewWorkers = Callable[[FarmHome], WorkersOf]
Registry = Callable[[str], FarmDatabase]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A scene that fails shows its farm."""
    report = yield
    if report.failed and call.when != "teardown":
        report.sections.extend(evidence.sections(item))
    return report


@pytest.fixture(scope="session")
def restartable_postgres() -> Iterator[Postgres]:
    """One that no other test uses."""
    with postgres.running() as server:
        yield server


@pytest.fixture
def registry(processes: ExitStack, django_db_blocker: DjangoDbBlocker) -> Registry:
    """`registry(url)` migrates that database and has the test's queries go there."""

    def inspect_farm(url: str) -> FarmDatabase:
        processes.enter_context(django_db_blocker.unblock())
        database = FarmDatabase(url, pooled=False)
        processes.callback(database.close)
        processes.enter_context(database.in_place())
        return database

    return inspect_farm


@pytest.fixture
def new_plane(
    request: pytest.FixtureRequest,
    processes: ExitStack,
    bootstrap: list[str],
    tmp_path: Path,
    restartable_postgres: Postgres,
    redis_server: RedisServer,
    registry: Registry,
) -> NewPlane:
    """A control plane on PostgreSQL and Redis. The test starts its processes."""

    def make(*, broker: str | None = None, **settings: str) -> ControlPlane:
        name = tmp_path.name.replace("-", "_")
        url = restartable_postgres.create_database(name)
        processes.callback(restartable_postgres.drop_database, name)
        registry(url)
        plane = ControlPlane(
            tmp_path, bootstrap=bootstrap, DATABASE_URL=url, REDIS_URL=broker or redis_server.url, **settings
        )
        processes.callback(plane.dispose)
        broker_url = plane.farm.redis_client_url
        evidence.show_on_failure(
            request.node, plane.tails, workers_state, lambda: evidence.broker_state(broker_url)
        )
        return plane

    return make


@pytest.fixture
def new_workers(
    request: pytest.FixtureRequest, processes: ExitStack, bootstrap: list[str], tmp_path: Path
) -> NewWorkers:
    def make(home: FarmHome) -> WorkersOf:
        made = WorkersOf(home, tmp_path, bootstrap)
        processes.callback(made.dispose)
        evidence.show_on_failure(request.node, made.tails)
        return made

    return make


@pytest.fixture
def farm(tmp_path: Path, bootstrap: list[str]) -> Iterator[FarmHome]:
    """`./farm up` as it comes, with heartbeats every second. The test starts it."""
    made = FarmHome(tmp_path / "home", SEEDERFARM_BOOTSTRAP=",".join(bootstrap), SEEDERFARM_HEARTBEAT="1s")
    try:
        yield made
    finally:
        made.dispose()


class Scene(NamedTuple):
    home: FarmHome
    workers: WorkersOf


@pytest.fixture
def on_postgres(new_plane: NewPlane, new_workers: NewWorkers) -> Scene:
    plane = new_plane()
    plane.control()
    plane.beat()
    return Scene(plane.home, new_workers(plane.home))


@pytest.fixture
def embedded(
    request: pytest.FixtureRequest,
    processes: ExitStack,
    bootstrap: list[str],
    tmp_path: Path,
    registry: Registry,
    new_workers: NewWorkers,
) -> Scene:
    """`./farm up` as it comes: SQLite, bundled Redis. Its own worker is asked to seed nothing."""
    home = FarmHome(tmp_path / "home", SEEDERFARM_BOOTSTRAP=",".join(bootstrap), **QUICK)
    processes.callback(home.dispose)
    broker_url = load(home.env).checked().redis_client_url
    evidence.show_on_failure(
        request.node, home.evidence, workers_state, lambda: evidence.broker_state(broker_url)
    )
    home.start()
    registry(f"sqlite:///{home.home / 'farm.sqlite3'}")
    # Scenes drain the workers that are online before their own: it must not come later, and take copies
    eventually(lambda: bool(online()), timeout=60, what="the farm's own worker")
    return Scene(home, new_workers(home))


@pytest.fixture(params=["on_postgres", "embedded"])
def scene(request: pytest.FixtureRequest) -> Scene:
    made: Scene = request.getfixturevalue(request.param)
    return made
