"""Fixtures: a private DHT, official peers and our own commands, each a process that is ended in any case."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from pytest_django import DjangoDbBlocker

from .support import node, postgres, redis
from .support.databases import FarmDatabase, migrated_on, migrated_once
from .support.node import Publisher, Reader, Seeder, Testnet
from .support.order import places
from .support.postgres import Postgres
from .support.redis import RedisServer
from .support.require import require
from .support.seed_process import SeedProcess

settings.register_profile("farm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("farm")
settings.register_profile("fast", settings.get_profile("farm"), max_examples=15)
"""That of `./farm test --fast`."""

SERVERS = {"browser", "official_peers", "processes", "redis_program", "postgres_server", "networks"}
"""Fixtures that start, or need, other processes."""
STARTERS = {
    "subprocess",
    "EngineChild",
    "SeedProcess",
    "FarmHome",
    "OneProcessHome",
    "RedisServer",
    "commands",
}
"""What a module imports to start processes."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start other processes are slow; `./farm test --fast` leaves them out. Long files are
    spread among the others."""
    place = places(item.nodeid for item in items)
    items.sort(key=lambda item: place[item.nodeid.partition("::")[0]])
    for item in items:
        parameters = getattr(item, "callspec", None)
        on_postgres = parameters is not None and parameters.params.get("farm_database") == "postgresql"
        needs = on_postgres or SERVERS & set(getattr(item, "fixturenames", ()))
        if needs or STARTERS & set(vars(getattr(item, "module", item))):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def official_peers() -> None:
    """Skips in plain sight when node or the packages are missing; with CI=true that is a failure."""
    require(node.missing())


@pytest.fixture(scope="session")
def testnet(official_peers: None) -> Iterator[Testnet]:
    net = Testnet()
    try:
        yield net
    finally:
        net.dispose()


@pytest.fixture
def bootstrap(testnet: Testnet) -> list[str]:
    assert testnet.running, testnet.describe()
    return testnet.bootstrap


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    """What a test starts is ended after it, the latest first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def publisher(processes: ExitStack, bootstrap: list[str], tmp_path: Path) -> Publisher:
    peer = Publisher(tmp_path / "publisher", bootstrap)
    processes.callback(peer.dispose)
    return peer


@pytest.fixture(scope="session")
def redis_program() -> str:
    """A redis-server. Skips in plain sight where there is none; with CI=true that is a failure."""
    require(redis.missing())
    return redis.find_server() or ""


@pytest.fixture
def redis_server(redis_program: str) -> Iterator[RedisServer]:
    """Started, empty, open to every user of this machine."""
    server = RedisServer()
    server.start()
    try:
        yield server
    finally:
        server.dispose()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """Skips in plain sight where PostgreSQL cannot be had; with CI=true that is a failure."""
    with postgres.running() as server:
        yield server


# --- the database of the farm ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes of one run keep the SQLite file that they copy."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the directory above is that of all of them
        place = place.parent
    return place / "migrated.sqlite3"


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def farm_database(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    migrated_file: Path,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[FarmDatabase]:
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("database") / "farm.sqlite3"
        with django_db_blocker.unblock():
            url = migrated_once(path, migrated_file)
    else:
        server: Postgres = request.getfixturevalue("postgres_server")
        with django_db_blocker.unblock():
            url = migrated_on(server)
    with django_db_blocker.unblock():
        database = FarmDatabase(url, migrate=False)
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


NewReader = Callable[[], Reader]
NewSeeder = Callable[[], Seeder]
NewFarm = Callable[..., SeedProcess]


@pytest.fixture
def new_reader(processes: ExitStack, bootstrap: list[str], tmp_path: Path) -> NewReader:
    """Each call starts an official reader with an empty store."""
    count = 0

    def start() -> Reader:
        nonlocal count
        count += 1
        peer = Reader(tmp_path / f"reader-{count}", bootstrap)
        processes.callback(peer.dispose)
        return peer

    return start


@pytest.fixture
def new_seeder(processes: ExitStack, bootstrap: list[str], tmp_path: Path) -> NewSeeder:
    count = 0

    def start() -> Seeder:
        nonlocal count
        count += 1
        peer = Seeder(tmp_path / f"seeder-{count}", bootstrap)
        processes.callback(peer.dispose)
        return peer

    return start


@pytest.fixture
def new_farm(processes: ExitStack, bootstrap: list[str], tmp_path: Path) -> NewFarm:
    """`new_farm(key, …, data="name")` starts `seed --json` over the data directory of that name."""

    def start(*arguments: str, data: str = "farm") -> SeedProcess:
        farm = SeedProcess(tmp_path / data, bootstrap, *arguments)
        processes.callback(farm.dispose)
        return farm

    return start
