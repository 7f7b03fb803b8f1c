"""Broker and database go away for a while, and come back: nothing is lost, no person has to act."""

from __future__ import annotations

import contextlib
import sqlite3
import urllib.request
from collections import Counter

import pytest
from django.db import connection

from farmwire.join import JoinToken
from seederfarm.registry.models import Replica, Sample, Worker

from ..conftest import NewReader
from ..support.content import File
from ..support.control_processes import ControlPlane
from ..support.fake_workers import Crowd, counted
from ..support.node import Publisher
from ..support.postgres import Postgres
from ..support.published import publish_drive, read_drive
from ..support.redis import RedisServer
from ..support.waiting import eventually
from ..support.worker import WorkerProcess
from .conftest import NewPlane, NewWorkers

FILES = [File(path="/a.bin", size=700_000), File(path="/b.bin", size=300_000)]
BYTES = 1_000_000


def sent_by(name: str) -> float:
    """Bytes that a worker gave to others, by the farm's samples."""
    worker = Worker.objects.get(name=name)
    samples = Sample.objects.filter(scope="worker", subject=worker.pk, metric="bytes_up")
    return sum(samples.values_list("total", flat=True))


def kept_back(worker: WorkerProcess) -> int:
    """Samples in its memory that the farm has not received."""
    with contextlib.closing(sqlite3.connect(worker.data / "worker.sqlite3")) as memory:
        return int(memory.execute("SELECT count(*) FROM buffered_sample").fetchone()[0])


@pytest.mark.interop
def test_a_worker_seeds_on_without_its_broker_and_reports_later_what_it_did(
    new_plane: NewPlane,
    new_workers: NewWorkers,
    redis_server: RedisServer,
    publisher: Publisher,
    new_reader: NewReader,
) -> None:
    """Seconds stand for minutes here: the worker reports every second, not every fifteen."""
    plane = new_plane()
    services = [plane.control(), plane.beat()]
    workers = new_workers(plane.home)
    workers.start("a")
    made = publish_drive(publisher, "plain", FILES)
    plane.home.lines("add", made["key"], "--replicas", "1", "--wait", "--timeout", "60")
    publisher.stop()
    before = sent_by("a")
    (engine,) = workers.running["a"].engines
    heard = Worker.objects.get(name="a").last_seen_at

    redis_server.stop()
    added = plane.home.run("add", "ab" * 32, "--replicas", "1")
    assert added.returncode == 0, added.stderr
    reader = new_reader()
    read_drive(reader, made, FILES)
    reader.dispose()
    eventually(lambda: kept_back(workers.running["a"]) > 3, timeout=30, what="counters that nobody takes")
    assert sent_by("a") == before

    redis_server.start()
    eventually(lambda: Worker.objects.get(name="a").last_seen_at > heard, timeout=60, what="its return")
    eventually(lambda: sent_by("a") >= before + BYTES, timeout=30, what="what it did meanwhile")
    assert sent_by("a") < before + 1.5 * BYTES, "and no byte twice"
    assert workers.running["a"].engines == [engine]
    eventually(
        lambda: Replica.objects.filter(drive__key="ab" * 32, phase="looking").exists(),
        timeout=30,
        what="the key that was added meanwhile",
    )
    assert all(service.alive for service in services)


def crowd_of(plane: ControlPlane, redis: RedisServer, count: int) -> Crowd:
    """Workers that keep twenty keys, three copies of each."""
    (line,) = plane.home.lines("worker", "enroll")
    crowd = Crowd(redis.url, JoinToken.from_text(line["token"]).control, count)
    crowd.let_in()
    keys = [f"{number:064x}" for number in range(1, 21)]
    plane.home.lines("add", *keys, "--replicas", "3")
    return crowd


def all_complete() -> bool:
    phases = Counter(Replica.objects.filter(desired=True).values_list("phase", flat=True))
    return phases == {"complete": 60}


def test_postgresql_is_restarted_while_reports_flow_in_and_nothing_is_lost(
    new_plane: NewPlane, restartable_postgres: Postgres, redis_server: RedisServer
) -> None:
    plane = new_plane()
    crowd = crowd_of(plane, redis_server, 5)
    services = [plane.control(), plane.beat(), plane.web()]
    crowd.start(every=0.2)
    eventually(all_complete, timeout=60, what="every copy")

    restartable_postgres.stop(immediately=True)

    def reports() -> int:
        return sum(member.reports for member in crowd.members)

    at_the_crash = reports()
    eventually(lambda: reports() > at_the_crash + 40, timeout=60, what="reports")
    restartable_postgres.start()
    connection.close()  # ours is as dead as theirs
    back = reports()
    eventually(lambda: reports() > back + 20, timeout=60, what="reports")
    notified = crowd.stop()
    eventually(lambda: counted() == (notified, notified), timeout=60, what=f"{notified} reports")
    assert all(service.alive for service in services)
    eventually(all_complete, timeout=30, what="every copy")
    with urllib.request.urlopen(plane.home.address + "admin/login/", timeout=30) as answer:
        assert answer.status == 200
