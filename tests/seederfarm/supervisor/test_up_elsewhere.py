"""`seederfarm up` with a PostgreSQL and a Redis of its operator's: TLS, passwords, secrets in files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ...support.farm_home import FarmHome, OneProcessHome, wait_dead
from ...support.postgres import Postgres
from ...support.redis import RedisServer, make_certificates, missing_in_system
from ...support.require import require
from ...support.waiting import eventually

PASSWORD = "p@ss:/w%r d?#"


@pytest.fixture
def broker(redis_program: str, tmp_path: Path) -> Iterator[RedisServer]:
    require(missing_in_system())
    server = RedisServer(tls=make_certificates(tmp_path / "tls"), password=PASSWORD)
    server.start()
    try:
        yield server
    finally:
        server.dispose()


@pytest.fixture
def farm(tmp_path: Path, broker: RedisServer, postgres_server: Postgres) -> Iterator[FarmHome]:
    database = postgres_server.create_database("elsewhere")
    files = {"DATABASE_URL_FILE": database, "REDIS_URL_FILE": broker.url}
    for name, secret in files.items():
        (tmp_path / name).write_text(secret + "\n")
    paths = {name: str(tmp_path / name) for name in files}
    made = FarmHome(tmp_path / "home", **paths, SEEDERFARM_HEARTBEAT="1s")
    try:
        yield made
    finally:
        made.dispose()
        if postgres_server.is_running:
            postgres_server.drop_database("elsewhere")


def worker_of(commands: OneProcessHome) -> dict[str, Any]:
    """Of the one there is; before it joined, one that was never seen."""
    (worker,) = commands.lines("workers") or [{"last_seen_at": None}]
    return worker


def test_a_farm_on_postgresql_and_redis_starts_loses_both_gets_over_it_and_starts_again(
    farm: FarmHome, broker: RedisServer, postgres_server: Postgres, processes: ExitStack
) -> None:
    admin, ready = [event for event in farm.start() if event["event"] not in ("process", "pages")]
    assert (admin["event"], ready["event"]) == ("admin", "ready")
    assert {"web", "control", "beat", "sources", "worker", "gateway", "flower"} == set(ready["processes"]), (
        "no Redis of its own"
    )
    assert not (farm.home / "farm.sqlite3").exists()

    def commands() -> OneProcessHome:
        made = OneProcessHome(farm.home, beside=farm)
        processes.callback(made.dispose)
        return made

    before = commands()
    eventually(lambda: worker_of(before)["last_seen_at"], timeout=60, what="the worker")
    assert PASSWORD not in farm.logs() and postgres_server.password not in farm.logs()
    seen = worker_of(before)["last_seen_at"]

    postgres_server.stop(immediately=True)
    broker.stop()
    failed = farm.run("list")
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1 and "Connection refused" in failed.stderr
    pids = farm.pids()
    postgres_server.start()
    broker.start()
    after = commands()
    after.lines("add", "ab" * 32)
    eventually(lambda: worker_of(after)["last_seen_at"] > seen, timeout=90, what="a report")
    # kombu 5.7 now and then ends a process that was acknowledging a task while the broker went: control may
    # have been started again.
    now = farm.pids()
    assert now | {"control": 0} == pids | {"control": 0}, "nothing else had to be started again"

    assert farm.run("down").returncode == 0
    wait_dead(now)
    assert farm.start()[-1]["event"] == "ready"
    assert [drive["key"] for drive in after.lines("list")] == ["ab" * 32]


def test_a_login_that_is_wrong_is_reported_in_one_line_and_nothing_starts(
    broker: RedisServer, postgres_server: Postgres, tmp_path: Path
) -> None:
    postgresql = postgres_server.url()
    for settings, reported in (
        ({"REDIS_URL": broker.url.replace("p%40ss", "guess")}, "refuses us"),
        ({"DATABASE_URL": postgresql.replace("farm-tests", "guess")}, "password authentication failed"),
    ):
        farm = FarmHome(tmp_path / "home", **settings)
        done = farm.run("up", "-d")
        assert done.returncode == 1, settings
        assert reported in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert "guess" not in done.stderr
        assert not (farm.home / "run" / "up.json").exists()
