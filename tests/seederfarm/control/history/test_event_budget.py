"""Rows of events: what a worker, a drive, a source and all of them may make, and how many are kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from farmwire.report import Report, WorkerEvent
from seederfarm.control.history import event_budget, retention
from seederfarm.control.history.event_budget import DRIVE, EventBudget
from seederfarm.control.history.events import EventRow
from seederfarm.control.reports.ingest import ingest_report
from seederfarm.registry.buckets import Buckets, RateLimit
from seederfarm.registry.models import AuditEntry, Event, Replica, Source, Worker
from seederfarm.registry.models.history import Severity
from seederfarm.registry.services import log
from seederfarm.sources.apply import apply_reading
from seederfarm.sources.claims import Reading, claim
from seederfarm.sources.list_formats import Entry, SourceError

from ...registry.factories import make_drive
from ..fakes import FakeBroker, FakeWorker, copy_of

DAY = 86_400.0


def made_event(drive_id: int | None, at: datetime) -> EventRow:
    return EventRow(at, "x", Severity.INFO, drive_id, 1, "text", {})


def spend(
    budget: EventBudget, count: int, at: float, now: datetime, *, worker: int = 1, drive: int | None = None
) -> int:
    """Returns how many of so many events are recorded."""
    row = Worker(pk=worker, name="w", node_id="w")
    kept = budget.within(row, [made_event(drive, now)] * count, now, at=at)
    return sum(item.kind == "x" for item in kept)


def test_a_worker_a_drive_and_all_have_a_budget_for_a_day(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_budget, "WORKER", RateLimit(100, 3_600.0))
    monkeypatch.setattr(event_budget, "ALL", RateLimit(250, 360.0))
    budget = EventBudget()
    assert spend(budget, 1_000, 0.0, now, drive=5) == DRIVE.burst
    assert spend(budget, 1_000, 0.0, now, drive=5) == 0, "the drive's, from this worker"
    assert spend(budget, 1_000, 0.0, now, worker=2, drive=5) == DRIVE.burst, "another has its own"
    assert spend(budget, 1_000, 0.0, now) == 100 - DRIVE.burst
    assert spend(budget, 1_000, 0.0, now, worker=2) == 100 - DRIVE.burst
    assert spend(budget, 1_000, 0.0, now, worker=3) == 50, "those of all are used up"
    in_a_day = sum(spend(budget, 10, hour * 3_600.0, now) for hour in range(1, 25))
    assert in_a_day == 24


def test_events_left_out_are_counted_in_an_event_once_an_hour(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_budget, "WORKER", RateLimit(2, 1e9))
    budget, row = EventBudget(), Worker(pk=1, name="anna", node_id="w")
    notified = [
        [
            item.text
            for item in budget.within(row, [made_event(None, now)] * 3, now, at=at)
            if item.kind != "x"
        ]
        for at in (0.0, 10.0, 3_599.0, 3_600.0)
    ]
    assert [len(texts) for texts in notified] == [1, 0, 0, 1]
    assert "anna reports more events than are kept; 1 of one report" in notified[0][0]


def test_what_is_counted_is_bounded(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_budget, "MAX_WORKERS", 20)
    monkeypatch.setattr(event_budget, "MAX_DRIVES", 20)
    budget = EventBudget()
    for number in range(500):
        spend(budget, DRIVE.burst + 1, 0.0, now, worker=number, drive=number)
    assert [len(part) for part in (budget._workers, budget._drives, budget._notices)] == [20, 20, 20]


@pytest.mark.usefixtures("farm")
def test_a_worker_whose_copies_change_without_end_fills_no_database(
    farm: FakeBroker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C3, by a worker that wants it: the phase flips with each report."""
    worker, drive = FakeWorker("anna", now=now), make_drive()
    Replica.objects.create(drive=drive, worker=worker.row, created_at=now)
    for number in range(60):
        at = now + timedelta(seconds=number + 1)
        worker.send_report(at, copy_of(drive.key, "complete" if number % 2 else "error", at))
    assert Replica.objects.get().phase == "complete", "what is known of the copy is as told"
    assert Event.objects.filter(drive=drive).count() == DRIVE.burst
    at = now + timedelta(seconds=100)
    kinds = [WorkerEvent(at=at.timestamp(), code="error", text="x", key=drive.key)] * 50
    ingest_report(worker.seal(Report(events=kinds), at), at)
    assert Event.objects.filter(drive=drive).count() == DRIVE.burst
    assert Event.objects.filter(kind="worker.many_events").count() == 1


@pytest.mark.usefixtures("database")
def test_only_so_many_events_are_kept(settings: Any, now: datetime) -> None:
    settings.FARM = replace(settings.FARM, keep_event_rows=10)
    Event.objects.bulk_create([Event(at=now, kind="x", text=str(number)) for number in range(25)])
    assert retention.prune(now).events == 15
    assert list(Event.objects.order_by("pk").values_list("text", flat=True)) == [
        str(n) for n in range(15, 25)
    ]
    assert retention.prune(now).events == 0


@pytest.mark.slow
@pytest.mark.usefixtures("database")
def test_a_list_that_changes_each_second_fills_neither_log(now: datetime) -> None:
    source = Source.objects.create(name="live", kind="bee", location="ab" * 32, shrink=100)
    for number in range(200):
        claimed = claim(source.pk, now, always=True)
        assert claimed is not None
        reported: Reading | SourceError = Reading({f"{number:064x}": Entry(f"{number:064x}")})
        if number % 3 == 0:
            reported = SourceError(f"trouble {number}")
        apply_reading(claimed.source, reported, now)
    assert Event.objects.filter(kind__startswith="source.").count() == log.SOURCE.burst
    assert AuditEntry.objects.count() == log.SOURCE.burst


@pytest.mark.usefixtures("database")
def test_what_sources_did_is_forgotten_and_what_people_did_is_kept(now: datetime) -> None:
    for actor in ("source live", "cli", "alice"):
        AuditEntry.objects.create(actor=actor, action="x", text="x", at=now - timedelta(days=400))
    assert retention.prune(now).audit == 1
    assert set(AuditEntry.objects.values_list("actor", flat=True)) == {"cli", "alice"}


def test_a_bucket_leaks() -> None:
    bucket = Buckets(RateLimit(3, 10.0), 100)
    assert [bucket.take("a", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert bucket.wait("a", 4.0) == 6.0 and bucket.wait("b", 4.0) == 0.0
    assert [bucket.take("a", 10.0) for _ in range(2)] == [True, False]
    assert [bucket.take("a", DAY) for _ in range(4)] == [True, True, True, False]
