"""The farm's reason to be: a publisher goes, a worker dies, and no reader notices."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from seederfarm.registry.models import Worker

from ..conftest import NewReader
from ..support.content import File
from ..support.control_processes import complete_on, copies, kinds_of_events, online, proven_on
from ..support.node import BlindClient, Publisher
from ..support.published import publish_drive, read_drive
from ..support.waiting import eventually
from .conftest import Scene

APP_FILES = {"/hello.txt": "hello", "/large.bin": "x" * 3000}
"""Of a drive of an app that has its cores kept by the blind peer of a worker."""

FILES = [File(path="/large.bin", size=2_000_000), File(path="/note.txt", size=12)]


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
def test_copies_outlive_their_publisher_and_a_worker_and_only_the_surplus_goes(
    scene: Scene, publisher: Publisher, new_reader: NewReader, new_app: NewApp
) -> None:
    home, workers = scene
    made = publish_drive(publisher, "plain", FILES)
    key = made["key"]
    workers.start("a", "b", "c", options=["--blind-peer"])
    eventually(lambda: online() >= {"a", "b", "c"}, timeout=60, what="three workers")
    local = online() - {"a", "b", "c"}
    for name in local:
        home.lines("worker", "drain", name)

    home.lines("add", key, "--replicas", "2", "--wait", "--timeout", "60")
    holders = complete_on(key)
    assert len(holders) == 2 and holders < {"a", "b", "c"}
    eventually(lambda: proven_on(key) == holders, timeout=30, what="the proofs of two copies")

    publisher.stop()
    first = new_reader()
    read_drive(first, made, FILES)
    first.dispose()

    dead, alive = sorted(holders)
    (third,) = {"a", "b", "c"} - holders
    app = new_app(dead)
    core = app.keep("core", 3)
    drive = app.ask("drive", name="drive", files=APP_FILES)
    app.ask("add", name="drive")
    app.ask("wait", name="drive")
    cores = [core["key"], *(each["key"] for each in drive["cores"])]
    eventually(
        lambda: all(len(complete_on(each)) == 2 for each in cores),
        timeout=60,
        what="two copies of what the app named",
    )
    assert all(dead in complete_on(each) for each in cores)
    app.stop()
    workers.kill(dead)
    eventually(lambda: third in complete_on(key), timeout=60, what=f"{third} to take over")
    assert alive in complete_on(key)
    other = new_app(alive, third)
    assert other.ask("read", key=core["key"])["complete"]
    assert other.ask("readDrive", key=drive["key"], paths=list(APP_FILES))["files"] == APP_FILES
    assert "replica.released" not in kinds_of_events(key), "nothing goes while a worker is away"

    workers.start(dead, options=["--blind-peer"])
    eventually(lambda: copies(key).count() == 2, timeout=60, what="the release of the surplus")
    assert len(complete_on(key)) == 2
    events = kinds_of_events(key)
    assert events.count("replica.released") == 1
    assert events.index("replica.released") > max(
        i for i, kind in enumerate(events) if kind == "replica.complete"
    )

    refused = home.run("remove", key)
    assert refused.returncode == 1 and "kept" in refused.stderr, "it would be the last copy anywhere"
    for name in {"a", "b", "c"} - complete_on(key):
        workers.kill(name)
    second = new_reader()
    read_drive(second, made, FILES)
