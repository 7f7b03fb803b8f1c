"""One worker, two machines."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from farmwire.report import Report
from seederfarm.control.reports.ingest import ingest_report
from seederfarm.registry.models import Alert, Event

from ..fakes import FakeBroker, FakeWorker

BEAT = timedelta(seconds=5)
ONE, OTHER, THIRD = "a1" * 8, "b2" * 8, "c3" * 8


@pytest.fixture
def worker(farm: FakeBroker, now: datetime) -> FakeWorker:
    return FakeWorker("anna", now=now)


def beat(worker: FakeWorker, run: str, at: datetime) -> dict[str, object]:
    return worker.seal(Report(heartbeat=replace(worker.beat(at), run=run)), at)


def heard(worker: FakeWorker, *runs: str, now: datetime) -> datetime:
    """Report of these runs, one after the other. Returns when the next one would come."""
    for run in runs:
        assert ingest_report(beat(worker, run, now), now).refused == ""
        now += BEAT
    return now


def test_two_machines_that_run_as_one_worker_are_an_alert(worker: FakeWorker, now: datetime) -> None:
    now = heard(worker, ONE, ONE, OTHER, now=now)
    assert not Alert.objects.exists(), "the second may be a restart"
    now = heard(worker, ONE, now=now)
    alert = Alert.objects.get()
    assert (alert.kind, alert.worker, alert.count) == ("worker.two_machines", worker.row, 1)
    assert alert.text == "Two machines run as worker anna: their reports alternate"
    heard(worker, OTHER, OTHER, ONE, now=now)
    alert.refresh_from_db()
    assert (alert.count, alert.resolved_at) == (3, None)
    event = Event.objects.get(kind="worker.two_machines")
    assert (event.worker, event.text) == (worker.row, alert.text)


def test_restarts_are_none(worker: FakeWorker, now: datetime) -> None:
    late = beat(worker, ONE, now)
    now = heard(worker, ONE, OTHER, now=now + BEAT)
    assert ingest_report(late, now).refused == "", "it was sent before the restart, and took longer"
    heard(worker, OTHER, "", OTHER, THIRD, THIRD, now=now)  # one of them an older version reports
    assert not Alert.objects.exists()
    worker.row.refresh_from_db()
    assert (worker.row.run, worker.row.former_run) == (THIRD, OTHER)


def test_a_machine_whose_clock_is_behind_is_noticed_too(worker: FakeWorker, now: datetime) -> None:
    now = heard(worker, ONE, now=now)
    for _ in range(6):
        worker.seq = 0  # each machine counts on its own
        behind = beat(worker, OTHER, now - 3.3 * BEAT)
        assert ingest_report(behind, now).refused == ""
        worker.seq = 0
        now = heard(worker, ONE, now=now)
    assert Alert.objects.get().kind == "worker.two_machines"
