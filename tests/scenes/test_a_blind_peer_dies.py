"""What an app has kept by one worker's blind peer is read from the others when that worker is gone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from seederfarm.registry.models import Worker

from ..support.control_processes import complete_on, online
from ..support.node import BlindClient
from ..support.waiting import eventually
from .conftest import NewPlane, NewWorkers

FILES = {"/hello.txt": "hello", "/large.bin": "x" * 3000}

NewApp = Callable[..., BlindClient]


@pytest.fixture
def new_app(processes: ExitStack, bootstrap: list[str], tmp_path: Path) -> NewApp:
    """`new_app(name, …)` starts an app that knows the blind peers of these workers."""
    seeds = count(0xC1)

    def start(*names: str) -> BlindClient:
        seed = f"{next(seeds):02x}" * 32
        workers = Worker.objects.filter(name__in=names, engine__blind_peer__key__isnull=False)
        eventually(lambda: workers.count() == len(names), timeout=30, what="the keys of blind peers")
        keys = workers.values_list("engine__blind_peer__key", flat=True)
        app = BlindClient(list(keys), bootstrap, seed=seed, storage=tmp_path / f"app-{seed[:2]}")
        processes.callback(app.dispose)
        return app

    return start


@pytest.mark.interop
def test_what_an_app_named_at_one_worker_outlives_that_worker(
    new_plane: NewPlane, new_workers: NewWorkers, new_app: NewApp
) -> None:
    plane = new_plane(SEEDERFARM_BLIND_PEER_REPLICAS="2")
    plane.control()
    plane.beat()
    workers = new_workers(plane.home)
    workers.start("a", "b", "c", options=["--blind-peer"])
    eventually(lambda: online() == {"a", "b", "c"}, timeout=60, what="three workers")

    app = new_app("a")
    core = app.keep("core", 3)
    drive = app.ask("drive", name="drive", files=FILES)
    app.ask("add", name="drive")
    app.ask("wait", name="drive")
    keys = [core["key"], *(each["key"] for each in drive["cores"])]
    eventually(
        lambda: all(len(complete_on(key)) == 2 for key in keys),
        timeout=60,
        what="two copies of what the app named",
    )
    assert all("a" in complete_on(key) for key in keys)

    app.stop()
    workers.kill("a")
    reader = new_app("b", "c")
    assert reader.ask("read", key=core["key"])["complete"]
    assert reader.ask("readDrive", key=drive["key"], paths=list(FILES))["files"] == FILES
