from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from msgspec.structs import replace

from farmwire.report import Report, WorkerEvent
from farmwire.report import Sample as ReportedSample
from farmwire.traffic import Served
from hypercore.keys import short_key
from seederfarm.control.history import samples
from seederfarm.control.messaging import assignments
from seederfarm.control.reports import ingest
from seederfarm.control.reports.ingest import ingest_report
from seederfarm.registry.models import Alert, AuditEntry, Drive, Event, Replica, Sample, Worker
from seederfarm.registry.models.worker import SILENT_AFTER
from seederfarm.registry.services import follow_forks

from ...registry.factories import make_drive
from ..fakes import FakeBroker, FakeWorker, copy_of

pytestmark = pytest.mark.usefixtures("farm")
SECOND = timedelta(seconds=1)


@pytest.fixture
def worker(farm: FakeBroker, now: datetime) -> FakeWorker:
    return FakeWorker("anna", now=now)


def assign(drive: Drive, worker: FakeWorker, now: datetime, **values: object) -> Replica:
    return Replica.objects.create(drive=drive, worker=worker.row, created_at=now, **values)


def test_a_report_updates_copy_drive_and_worker(worker: FakeWorker, now: datetime) -> None:
    drive = make_drive()
    replica = assign(drive, worker, now)
    report = copy_of(drive.key, "complete", now, title="Films", writer_seen_at=now.timestamp())
    assert worker.send_report(now, report) == ingest.IngestResult(applied=1)
    replica.refresh_from_db()
    drive.refresh_from_db()
    worker.row.refresh_from_db()
    assert (replica.phase, replica.have_blocks, replica.total_bytes) == ("complete", 10, 1000)
    assert replica.last_report_at == replica.completed_at == now
    assert (drive.length, drive.byte_length, drive.title, drive.kind) == (10, 1000, "Films", "core")
    assert drive.last_writer_seen_at == now
    assert drive.dirty
    assert (worker.row.last_seen_at, worker.row.free_bytes) == (now, 1000 * 10**9)
    assert worker.row.host["cores"] == 4
    event = Event.objects.get(kind="replica.complete")
    assert (event.drive, event.worker, event.data["from"]) == (drive, worker.row, "assigned")


def test_a_copy_that_got_blocks_is_marked_by_our_clock(worker: FakeWorker, now: datetime) -> None:
    drive = make_drive()
    replica = assign(drive, worker, now)
    for at, blocks, expected in (
        (now, 0, None),
        (now + SECOND, 4, now + SECOND),
        (now + 2 * SECOND, 4, now + SECOND),
        (now + 3 * SECOND, 6, now + 3 * SECOND),
        (now + 4 * SECOND, 5, now + 3 * SECOND),
    ):
        worker.send_report(at, replace(copy_of(drive.key, "downloading", at), have_blocks=blocks))
        replica.refresh_from_db()
        assert replica.grew_at == expected


def test_what_was_observed_earlier_does_not_count(worker: FakeWorker, now: datetime) -> None:
    drive = make_drive()
    replica = assign(drive, worker, now)
    worker.send_report(now, copy_of(drive.key, "complete", now))
    late = worker.send_report(now + SECOND, copy_of(drive.key, "downloading", now - SECOND))
    assert (late.applied, late.stale) == (0, 1)
    replica.refresh_from_db()
    assert replica.phase == "complete"


def test_the_latest_of_several_about_one_copy_counts(worker: FakeWorker, now: datetime) -> None:
    drive = make_drive()
    assign(drive, worker, now)
    worker.send_report(
        now, copy_of(drive.key, "complete", now), copy_of(drive.key, "downloading", now - SECOND)
    )
    assert Replica.objects.get().phase == "complete"


def test_a_clock_that_ran_ahead_does_not_make_later_reports_old(worker: FakeWorker, now: datetime) -> None:
    drive = make_drive()
    assign(drive, worker, now)
    worker.send_report(now, copy_of(drive.key, "downloading", now + timedelta(days=900)))
    worker.send_report(now + SECOND, copy_of(drive.key, "complete", now + SECOND))
    assert Replica.objects.get().phase == "complete"
    absurd = copy_of(drive.key, "error", now, error="disk").__class__(
        key=drive.key, phase="error", observed_at=1e11
    )
    assert worker.send_report(now + 2 * SECOND, absurd).applied == 1


def test_a_message_counts_once(worker: FakeWorker, now: datetime) -> None:
    message = worker.report(now)
    assert ingest_report(message, now).refused == ""
    assert "replayed" in ingest_report(message, now).refused
    worker.row.refresh_from_db()
    assert worker.row.refused == 1
    assert "replayed" in worker.row.refused_reason


def test_messages_out_of_order_count_each(worker: FakeWorker, now: datetime) -> None:
    first, second = worker.report(now), worker.report(now)
    assert ingest_report(second, now).refused == ""
    assert ingest_report(first, now).refused == ""
    assert "replayed" in ingest_report(second, now).refused


def test_unknown_senders_are_refused_in_one_alert(farm: FakeBroker, now: datetime) -> None:
    peer = FakeWorker("stranger", now=now)
    message = peer.report(now)
    Worker.objects.all().delete()
    for data in (message, message, {}, None, [], {"from": 7}, {"from": "x" * 10_000}):
        assert ingest_report(data, now).refused
    alert = Alert.objects.get()
    assert (alert.kind, alert.count) == ("worker.unknown", 7)


@pytest.mark.parametrize(("state", "why"), [("pending", "approval"), ("retired", "retired")])
def test_workers_that_take_no_part_are_refused_with_a_reason(
    farm: FakeBroker, now: datetime, state: str, why: str
) -> None:
    worker = FakeWorker("anna", state=state, now=now - SECOND)
    assert why in worker.send_report(now).refused
    worker.row.refresh_from_db()
    assert worker.row.refused == 1
    assert why in worker.row.refused_reason
    assert worker.row.last_seen_at == now - SECOND


def test_a_worker_cannot_report_for_another(worker: FakeWorker, now: datetime) -> None:
    mallory = FakeWorker("mallory", now=now)
    drive = make_drive()
    assign(drive, worker, now)
    forged = mallory.report(now, copy_of(drive.key, "complete", now))
    forged["from"] = worker.node_id
    assert "bad_signature" in ingest_report(forged, now).refused
    assert mallory.send_report(now, copy_of(drive.key, "complete", now)).unassigned == 1
    assert Replica.objects.get().phase == "assigned"


def test_old_messages_and_those_from_the_future_are_refused(worker: FakeWorker, now: datetime) -> None:
    message = worker.report(now)
    assert "expired" in ingest_report(message, now + timedelta(hours=2)).refused
    far = worker.seal(Report(), now, lifetime=90 * 86400)
    assert "expired" in ingest_report(far, now).refused


def test_a_signed_body_that_makes_no_sense_is_counted(worker: FakeWorker, now: datetime) -> None:
    body = Served(key="ab" * 32, bytes=1)
    good = worker.seal(body, now)
    assert ingest_report(good, now).refused == ""  # fields that are not known are ignored
    bad = worker.seal(Report(replicas=[copy_of("zz", "complete", now)]), now)
    assert "malformed" in ingest_report(bad, now).refused
    worker.row.refresh_from_db()
    assert worker.row.refused == 1


def test_a_removed_copy_goes_when_it_was_released(worker: FakeWorker, now: datetime) -> None:
    wanted, unwanted = make_drive(), make_drive()
    assign(wanted, worker, now, phase="complete")
    assign(unwanted, worker, now, phase="complete", desired=False, released_at=now)
    worker.send_report(
        now + SECOND,
        copy_of(wanted.key, "removed", now + SECOND),
        copy_of(unwanted.key, "removed", now + SECOND),
    )
    left = Replica.objects.get()
    assert (left.drive, left.phase) == (wanted, "removed")
    assert set(Drive.objects.filter(dirty=True)) == {wanted, unwanted}


def test_what_is_seen_of_a_drive_only_gets_better(farm: FakeBroker, now: datetime) -> None:
    anna, bert = FakeWorker("anna", now=now), FakeWorker("bert", now=now)
    drive = make_drive()
    assign(drive, anna, now)
    assign(drive, bert, now)
    seen = now.timestamp()
    anna.send_report(
        now, copy_of(drive.key, "complete", now, length=20, bytes=5000, title="New", writer_seen_at=seen)
    )
    bert.send_report(
        now + SECOND,
        copy_of(drive.key, "complete", now + SECOND, length=15, title="Old", writer_seen_at=seen - 500),
    )
    drive.refresh_from_db()
    assert (drive.length, drive.byte_length, drive.title) == (20, 5000, "New")
    assert drive.last_writer_seen_at == now
    bert.send_report(now + 2 * SECOND, copy_of(drive.key, "complete", now + 2 * SECOND, length=3, fork=1))
    drive.refresh_from_db()
    assert (drive.fork, drive.length) == (1, 3)


def test_a_report_takes_as_many_statements_for_500_copies_as_for_5(worker: FakeWorker, now: datetime) -> None:
    drives = [make_drive() for _ in range(500)]
    Replica.objects.bulk_create([Replica(drive=drive, worker=worker.row) for drive in drives])

    def cost(some: list[Drive], at: datetime, phase: str) -> int:
        message = worker.report(at, *(copy_of(drive.key, phase, at) for drive in some))
        with CaptureQueriesContext(connection) as context:
            ingest_report(message, at)
        return len(context)

    few = cost(drives[:5], now, "complete")
    # SQLite takes so many values in one INSERT: the events are two or three of them.
    assert cost(drives[5:], now + SECOND, "complete") <= few + 5 <= 24
    assert Replica.objects.filter(phase="complete").count() == 500


def test_samples_are_summed_up_by_the_minute(worker: FakeWorker, now: datetime) -> None:
    def notified(start: datetime, up: int) -> ReportedSample:
        return ReportedSample(
            start=start.timestamp(), seconds=10.0, bytes_in=0, bytes_out=up, cpu_percent=10.0,
            memory_used_bytes=1, disk_free_bytes=2, stored_bytes=3, peers=4,
        )  # fmt: skip

    first = [notified(now, 100), notified(now + 10 * SECOND, 50), notified(now + 60 * SECOND, 7)]
    ingest_report(worker.seal(Report(samples=first), now), now)
    ingest_report(worker.seal(Report(samples=[notified(now + 20 * SECOND, 1000)]), now), now)
    jumped = [notified(now - timedelta(days=4000), 9), notified(now + timedelta(days=4000), 9)]
    ingest_report(worker.seal(Report(samples=jumped), now), now)
    rows = Sample.objects.filter(metric="bytes_up", subject=worker.row.pk).order_by("at")
    found = [(row.at, row.count, row.total, row.minimum, row.maximum) for row in rows]
    assert found == [(now, 3, 1150.0, 50.0, 1000.0), (now + 60 * SECOND, 1, 7.0, 7.0, 7.0)]


def test_samples_grow_coarse_and_none_is_lost_or_counted_twice(worker: FakeWorker, now: datetime) -> None:
    for minute in range(0, 120, 7):
        Sample.objects.create(
            scope="worker", subject=1, metric="bytes_up", span=60, at=now + minute * 60 * SECOND,
            count=1, total=minute, minimum=minute, maximum=minute,
        )  # fmt: skip
    total = sum(range(0, 120, 7))
    for days in (0, 1, 3, 3, 20, 20):
        samples.roll_up(now + timedelta(days=days))
        rows = list(Sample.objects.all())
        assert sum(row.total for row in rows) == total
        assert sum(row.count for row in rows) == 18
    assert {row.span for row in rows} == {21600}
    assert all(row.at.astimezone(UTC).hour % 6 == 0 and row.at.minute == 0 for row in rows)
    samples.roll_up(now + timedelta(days=500))
    assert not Sample.objects.exists()


def test_events_name_a_drive_without_label_by_the_beginning_of_its_key(
    worker: FakeWorker, now: datetime
) -> None:
    drive = make_drive(label="")
    assign(drive, worker, now)
    worker.send_report(now, copy_of(drive.key, "complete", now))
    event = Event.objects.get(kind="replica.complete")
    assert f" {drive.z32[:10]}… " in event.text


def test_events_of_a_worker_reach_the_flight_recorder(worker: FakeWorker, now: datetime) -> None:
    drive = make_drive(label="Tides")
    events = [
        WorkerEvent(at=now.timestamp(), code="engine_restarted", text="exit status 1"),
        WorkerEvent(at=now.timestamp() + 9e9, code="fork", key=drive.key),
        WorkerEvent(at=now.timestamp(), code="synced", text="version 6, 3.0 MB", key=drive.key),
        WorkerEvent(at=now.timestamp(), code="synced", text="version 6, 3.0 MB", key="0a" * 32),
    ]
    ingest_report(worker.seal(Report(events=events), now), now)
    restarted, fork, synced, removed = Event.objects.order_by("id")
    assert fork.text == "The copy of Tides on anna: fork"
    assert synced.text == "The copy of Tides on anna has all of version 6, 3.0 MB"
    assert removed.text == f"The copy of {short_key(bytes([10]) * 32)} on anna has all of version 6, 3.0 MB"
    assert (restarted.kind, restarted.text) == ("engine.engine_restarted", "anna: exit status 1")
    assert (fork.drive, fork.at) == (drive, now)


def test_a_hung_engine_is_an_alert_until_one_is_ready(worker: FakeWorker, now: datetime) -> None:
    def send_event(code: str, seconds: float) -> None:
        at = now + timedelta(seconds=seconds)
        event = WorkerEvent(at=at.timestamp(), code=code, text="engine 0 has sent nothing for 60 s")
        ingest.ingest_report(worker.seal(Report(events=[event]), at), at)

    send_event("engine_hung", 1)
    alert = Alert.objects.get(kind="worker.engine_hung")
    assert alert.worker == worker.row and "sent nothing" in alert.text and alert.resolved_at is None
    send_event("engine_hung", 2)
    send_event("synced", 3)
    alert.refresh_from_db()
    assert (alert.count, alert.resolved_at) == (2, None)
    send_event("engine_ready", 4)
    alert.refresh_from_db()
    assert alert.resolved_at is not None


def test_a_rewritten_history_in_quarantine_is_an_alert_until_a_person_decides(
    farm: FakeBroker, worker: FakeWorker, now: datetime
) -> None:
    drive, other = make_drive(max_fork=0), make_drive(max_fork=0)
    assign(drive, worker, now)
    for key in (drive.key, drive.key, other.key):
        notified = WorkerEvent(
            at=now.timestamp(), code="fork_quarantined", key=key, text="fork 1 in place of fork 0"
        )
        ingest_report(worker.seal(Report(events=[notified]), now), now)
    alert = Alert.objects.get(drive=drive)
    assert (alert.kind, alert.count, alert.resolved_at) == ("drive.forked", 2, None)
    assert "fork 1 in place of fork 0" in alert.text
    assert follow_forks([drive], 1, "cli") == 1
    assert follow_forks([drive], 1, "cli") == 0
    alert.refresh_from_db()
    assert alert.resolved_at is not None
    assert Alert.objects.get(drive=other).resolved_at is None
    assignments.send_assignment(worker.row.pk)
    page = farm.take_sent()[-1].message["body"]
    assert [(entry["key"], entry["max_fork"]) for entry in page["entries"]] == [(drive.key, 1)]
    assert AuditEntry.objects.get(action="drive.forks").data["max_fork"] == 1


def test_a_lost_worker_that_reports_again_is_back(worker: FakeWorker, now: datetime) -> None:
    drive = make_drive()
    assign(drive, worker, now)
    Worker.objects.update(lost_since=now - timedelta(hours=1))
    worker.send_report(now)
    worker.row.refresh_from_db()
    drive.refresh_from_db()
    assert worker.row.lost_since is None
    assert drive.dirty
    assert Event.objects.get(kind="worker.returned").worker == worker.row


def test_a_report_that_was_cut_short_may_come_again(
    worker: FakeWorker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = make_drive()
    assign(drive, worker, now)
    message = worker.report(now, copy_of(drive.key, "complete", now))

    def die(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "_heartbeat", die)
        with pytest.raises(RuntimeError):
            ingest_report(message, now)
    assert Replica.objects.get().phase == "assigned"
    assert ingest_report(message, now).applied == 1
    assert timezone.is_aware(Replica.objects.get().last_report_at or now)


def test_the_first_heartbeat_of_a_worker_has_everything_planned(
    farm: FakeBroker, worker: FakeWorker, now: datetime
) -> None:
    Worker.objects.update(free_bytes=None)
    worker.send_report(now)
    worker.send_report(now + SECOND)
    assert farm.take_deferred("control.reconcile") == [[]]


def test_the_first_heartbeat_after_a_silence_has_everything_planned(
    farm: FakeBroker, worker: FakeWorker, now: datetime
) -> None:
    """What was added while no worker was heard has found no place, and is not marked any more."""
    worker.send_report(now)
    farm.take_deferred("control.reconcile")
    worker.send_report(now + SECOND)
    assert farm.take_deferred("control.reconcile") == []
    worker.send_report(now + SECOND + timedelta(seconds=SILENT_AFTER * settings.FARM.heartbeat + 1))
    assert farm.take_deferred("control.reconcile") == [[]]


def test_a_copy_that_only_follows_its_writer_has_no_event_for_each_append(
    worker: FakeWorker, now: datetime
) -> None:
    drive = make_drive()
    assign(drive, worker, now)
    at = now
    for _ in range(30):
        for phase in ("downloading", "complete"):
            at += SECOND
            worker.send_report(at, copy_of(drive.key, phase, at))
    kinds = list(
        Event.objects.filter(kind__startswith="replica.").order_by("pk").values_list("kind", flat=True)
    )
    assert kinds == ["replica.downloading", "replica.complete"]
    worker.send_report(at + SECOND, copy_of(drive.key, "error", at + SECOND, error="disk"))
    worker.send_report(at + 2 * SECOND, copy_of(drive.key, "complete", at + 2 * SECOND))
    later = at + timedelta(hours=2)
    worker.send_report(later, copy_of(drive.key, "downloading", later))
    worker.send_report(later + SECOND, copy_of(drive.key, "complete", later + SECOND))
    assert Event.objects.filter(kind="replica.complete").count() == 3
    assert Event.objects.filter(kind="replica.downloading").count() == 2


@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b"])
def test_text_that_no_database_keeps_loses_no_report(farm: FakeBroker, now: datetime, bad: str) -> None:
    """Titles, errors and what engines report may have been chosen by peers."""
    anna = FakeWorker("anna", now=now)
    drive = make_drive()
    Replica.objects.create(drive=drive, worker=anna.row, created_at=now - SECOND)
    notified = copy_of(drive.key, "error", now, have=1, error=bad, title=bad)
    event = WorkerEvent(at=now.timestamp(), code="trouble", text=bad)
    report = Report(heartbeat=replace(anna.beat(now), software=bad), replicas=[notified], events=[event])
    assert ingest_report(anna.seal(report, now), now).applied == 1
    drive.refresh_from_db()
    for text in (drive.title, Replica.objects.get().error, Event.objects.last().text):  # type: ignore[union-attr]
        assert re.search("a[?\ufffd]b", text)
