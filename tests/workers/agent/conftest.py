"""Fixtures: a control plane, workers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from ...support.fake_control import Plane
from ...support.redis import RedisServer
from ...support.worker import WorkerProcess

NewWorker = Callable[..., WorkerProcess]


@pytest.fixture
def plane(redis_server: RedisServer) -> Plane:
    return Plane(redis_server.url)


@pytest.fixture
def new_worker(
    processes: ExitStack, bootstrap: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> NewWorker:
    """`new_worker("--join", token)` starts a worker over the data directory of this test."""

    def start(
        *arguments: str, data: str = "worker", heartbeat: float = 1.0, **variables: str
    ) -> WorkerProcess:
        worker = WorkerProcess(
            tmp_path / data, *arguments, bootstrap=bootstrap, heartbeat=heartbeat, variables=variables
        )
        processes.callback(worker.dispose)
        processes.callback(lambda: print(worker.tail()))  # noqa: T201 - shown when the test fails
        return worker

    return start
