"""Fixtures: a private Redis, a control plane, workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..support import redis
from ..support.plane import Plane
from ..support.redis import RedisServer
from ..support.worker import WorkerProcess

NewWorker = Callable[..., WorkerProcess]


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """Skips in plain sight where there is none; with CI=true that is a failure."""
    if (reason := redis.missing()) is not None:
        if redis.is_ci():
            pytest.fail(reason)
        pytest.skip(reason)
    server = RedisServer()
    server.start()
    try:
        yield server
    finally:
        server.dispose()


@pytest.fixture
def plane(redis_server: RedisServer) -> Plane:
    return Plane(redis_server.url)


@pytest.fixture
def new_worker(
    processes: ExitStack, bootstrap: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> NewWorker:
    """`new_worker("--join", token)` starts a worker over the data directory of this test."""

    def start(*arguments: str, data: str = "worker", heartbeat: float = 1.0) -> WorkerProcess:
        worker = WorkerProcess(tmp_path / data, *arguments, bootstrap=bootstrap, heartbeat=heartbeat)
        processes.callback(worker.dispose)
        processes.callback(lambda: print(worker.tail()))  # noqa: T201 - shown when the test fails
        return worker

    return start
