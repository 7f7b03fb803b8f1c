from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farmwire.assignment import AssignmentPage
from farmwire.message import decode
from farmwire.tasks import REFRESH, SYNC_ASSIGNMENT
from seederfarm.control.db.locks import try_lock
from seederfarm.control.messaging import assignments
from seederfarm.control.reconcile.liveness import OutageDetector
from seederfarm.control.reconcile.reconcile import LOCK, ReconcileResult, reconcile
from seederfarm.control.reports.ingest import ingest_report
from seederfarm.registry.models import Alert, AssignmentState, Drive, Event, Replica, Worker
from seederfarm.registry.services import drives as drive_services
from seederfarm.registry.services import workers as worker_services

from ....support.databases import FarmDatabase
from ...registry.factories import make_drive
from ..fakes import FakeBroker, FakeWorker, Sent, copy_of, prove_all

SECOND = timedelta(seconds=1)
GRACE = timedelta(seconds=400)


def run_until_idle(broker: FakeBroker, workers: list[FakeWorker], now: datetime) -> None:
    """Deliver assignments; let every worker finish its downloads and say so."""
    broker.send_assignments(now)
    for sent in broker.take_sent():
        for worker in workers:
            if sent.queue.split(".")[1] == worker.node_id:
                worker.hear(sent, now)
    for worker in workers:
        for key, phase in worker.held.items():
            worker.held[key] = "complete" if phase in ("looking", "downloading") else phase
        worker.send_report(now, *worker.status(now))
        worker.held = {key: phase for key, phase in worker.held.items() if phase != "removed"}
    prove_all(now)


def plan_now(now: datetime, *, everything: bool = True) -> ReconcileResult:
    return reconcile(everything=everything, now=now, outages=OutageDetector(now - timedelta(days=1)))


def desired() -> set[tuple[str, str]]:
    return set(Replica.objects.filter(desired=True).values_list("drive__key", "worker__name"))


def test_a_plan_becomes_copies_assignments_and_events(farm: FakeBroker, now: datetime) -> None:
    workers = [FakeWorker(name, now=now) for name in ("anna", "bert", "cleo")]
    drives = [make_drive(replicas_min=2, replicas_max=2, dirty=True) for _ in range(6)]
    result = plan_now(now)
    assert (result.applied, len(result.assign), result.release, result.unplaced) == (True, 12, [], [])
    assert Replica.objects.filter(phase="assigned").count() == 12
    assert not Drive.objects.filter(dirty=True).exists()
    assert Event.objects.filter(kind="replica.assigned").count() == 12
    farm.send_assignments(now)
    sent = farm.take_sent()
    assert {message.task for message in sent} == {SYNC_ASSIGNMENT}
    pages = [decode(message.message["body"], AssignmentPage) for message in sent]
    assert sorted(len(page.entries) for page in pages) == [4, 4, 4]
    for message in sent:
        for worker in workers:
            worker.hear(message, now)
    keys = sorted(key for worker in workers for key in worker.held)
    assert keys == sorted([drive.key for drive in drives] * 2)
    assert plan_now(now + SECOND).assign == []


def test_a_dry_run_changes_nothing(farm: FakeBroker, now: datetime) -> None:
    FakeWorker("anna", now=now)
    make_drive(dirty=True, byte_length=5000)
    result = reconcile(dry_run=True, now=now)
    assert (result.applied, len(result.assign), result.bytes) == (False, 1, 5000)
    assert not Replica.objects.exists()
    assert not AssignmentState.objects.exists()
    assert Drive.objects.get().dirty
    assert farm.deferred == []
    assert reconcile(dry_run=True, everything=False, now=now).drives == 1


def test_a_dry_run_lists_some_moves_and_counts_all(farm: FakeBroker, now: datetime) -> None:
    FakeWorker("anna", now=now)
    for _ in range(5):
        make_drive(replicas_min=2, replicas_max=2)
    result = reconcile(dry_run=True, keep=3, now=now)
    assert (len(result.assign), result.assigned) == (3, 5)
    assert (len(result.unplaced), result.short) == (3, 5)


def test_only_dirty_drives_are_planned_when_asked(farm: FakeBroker, now: datetime) -> None:
    FakeWorker("anna", now=now)
    dirty = make_drive(dirty=True)
    make_drive()
    assert [move.drive for move in plan_now(now, everything=False).assign] == [dirty.pk]
    assert plan_now(now, everything=False).drives == 0


def test_paused_drives_stay_where_they_are(farm: FakeBroker, now: datetime) -> None:
    workers = [FakeWorker(name, now=now) for name in ("anna", "bert")]
    drive = make_drive(replicas_min=2, replicas_max=2)
    plan_now(now)
    run_until_idle(farm, workers, now)
    drive_services.pause([drive], "cli")
    drive_services.set_replicas([drive], 1, 1, "cli")
    assert plan_now(now + SECOND).release == []
    for worker in workers:
        assignment = assignments.send_assignment(worker.row.pk, now)
        assert assignment is not None
        assert [entry.key for entry in assignment.entries] == [drive.key]


def test_a_lost_worker_is_replaced_and_the_surplus_goes_when_it_returns(
    farm: FakeBroker, now: datetime
) -> None:
    workers = [FakeWorker(name, now=now) for name in ("anna", "bert", "cleo")]
    make_drive(replicas_min=2, replicas_max=2)
    plan_now(now)
    run_until_idle(farm, workers, now)
    before = desired()
    lost = next(worker for worker in workers if worker.held)
    others = [worker for worker in workers if worker is not lost]

    later = now + GRACE
    for worker in others:
        worker.send_report(later)
    moved = plan_now(later, everything=False)
    assert len(moved.assign) == 1
    assert Event.objects.get(kind="worker.lost").worker == lost.row
    assert Alert.objects.get(kind="worker.lost").resolved_at is None
    assert before < desired()

    run_until_idle(farm, others, later)
    back = later + SECOND
    assert plan_now(back).release == []  # what a lost worker has is no surplus: it may never return
    lost.send_report(back, *lost.status(back))
    stable = plan_now(back + SECOND, everything=False)
    assert len(stable.release) == 1
    assert Alert.objects.get(kind="worker.lost").resolved_at is not None
    run_until_idle(farm, workers, back + 3 * SECOND)
    assert Replica.objects.filter(phase="complete").count() == Replica.objects.count() == 2


def test_no_worker_is_lost_when_none_was_heard(farm: FakeBroker, now: datetime) -> None:
    workers = [FakeWorker(name, now=now) for name in ("anna", "bert")]
    make_drive()
    plan_now(now)
    outages = OutageDetector(now)
    later = now + timedelta(hours=5)  # the broker was away
    assert reconcile(now=later, outages=outages).assign == []
    workers[0].send_report(later)
    reconcile(now=later + SECOND, outages=outages)  # one is first
    assert not Worker.objects.filter(lost_since__isnull=False).exists()
    for minute in range(8):
        workers[0].send_report(later + minute * 60 * SECOND)
        reconcile(now=later + minute * 60 * SECOND, outages=outages)
    assert [worker.name for worker in Worker.objects.filter(lost_since__isnull=False)] == ["bert"]


def test_a_drain_moves_first_and_releases_then(farm: FakeBroker, now: datetime) -> None:
    workers = [FakeWorker(name, now=now) for name in ("anna", "bert")]
    for _ in range(4):
        make_drive()
    plan_now(now)
    run_until_idle(farm, workers, now)
    anna = workers[0].row
    has = Replica.objects.filter(worker=anna).count()
    assert has
    worker_services.drain([anna], "cli")
    at = now + SECOND
    moved = plan_now(at)
    assert (len(moved.assign), moved.release) == (has, [])
    progress = drain_numbers(anna.pk)
    assert progress == (has, has)
    run_until_idle(farm, workers, at)
    assert len(plan_now(at + SECOND).release) == has
    run_until_idle(farm, workers, at + 2 * SECOND)
    assert set(Replica.objects.values_list("worker__name", "phase")) == {("bert", "complete")}
    assert drain_numbers(anna.pk) == (0, 0)


def drain_numbers(worker_id: int) -> tuple[int, int]:
    from seederfarm.registry.services.drains import drain_progress

    progress = drain_progress(worker_id)
    assert ("wait for other workers" in str(progress)) is (progress.waiting > 0)
    return progress.copies, progress.waiting


def test_a_release_is_checked_again_where_it_is_written(
    farm: FakeBroker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = [FakeWorker(name, now=now) for name in ("anna", "bert")]
    drive = make_drive(replicas_min=1, replicas_max=2)
    plan_now(now)
    run_until_idle(farm, workers, now)
    drive_services.set_replicas([drive], 1, 1, "cli")
    from seederfarm.control.reconcile import reconcile as module

    plan = module.plan

    def slow_plan(*args: object) -> object:
        decided = plan(*args)  # type: ignore[arg-type]
        kept = Replica.objects.exclude(worker_id=decided.release[0].worker)
        kept.update(phase="error")  # meanwhile a disk broke
        return decided

    monkeypatch.setattr(module, "plan", slow_plan)
    assert len(plan_now(now + SECOND).release) == 1
    assert Replica.objects.filter(desired=True).count() == 2


def test_an_unplaced_drive_has_one_alert_with_the_reason(farm: FakeBroker, now: datetime) -> None:
    FakeWorker("anna", now=now)
    drive = make_drive(required_tags=["ssd"])
    plan_now(now)
    plan_now(now + SECOND)
    alert = Alert.objects.get()
    assert (alert.kind, alert.drive, alert.count) == ("drive.unplaced", drive, 2)
    assert "ssd" in alert.text
    assert Event.objects.filter(kind="drive.unplaced").count() == 1
    Drive.objects.update(required_tags=[])
    plan_now(now + 2 * SECOND)
    alert.refresh_from_db()
    assert alert.resolved_at is not None


def test_a_copy_that_comes_back_before_it_was_removed_starts_anew(farm: FakeBroker, now: datetime) -> None:
    worker = FakeWorker("anna", now=now)
    drive = make_drive()
    Replica.objects.create(
        drive=drive, worker=worker.row, phase="complete", desired=False, released_at=now, have_blocks=9,
        last_report_at=now,
    )  # fmt: skip
    plan_now(now + SECOND)
    replica = Replica.objects.get()
    assert (replica.desired, replica.phase, replica.have_blocks) == (True, "assigned", 0)
    worker.send_report(now + 2 * SECOND, copy_of(drive.key, "removed", now))
    replica.refresh_from_db()
    assert replica.phase == "assigned"


def test_a_removed_drive_goes_when_its_copies_are_gone(farm: FakeBroker, now: datetime) -> None:
    workers = [FakeWorker(name, now=now) for name in ("anna", "bert")]
    drive = make_drive(replicas_min=2, replicas_max=2)
    plan_now(now)
    run_until_idle(farm, workers, now)
    assert drive_services.remove([drive], "cli", force=True).removing == 1
    assert len(plan_now(now + SECOND).release) == 2
    run_until_idle(farm, workers, now + 2 * SECOND)
    plan_now(now + 3 * SECOND)
    assert not Drive.objects.exists()


def test_two_reconcilers_do_not_work_at_once(committing_database: FarmDatabase, farm: FakeBroker) -> None:
    import threading

    held: list[bool] = []
    with try_lock(LOCK) as first:

        def second() -> None:
            try:
                with try_lock(LOCK) as mine:
                    held.append(mine)
            finally:
                connections.close_all()

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert (first, held) == (True, [False])
    with try_lock(LOCK) as again:
        assert again


def test_a_heartbeat_that_does_not_know_the_assignment_gets_it_again_but_not_all_the_time(
    farm: FakeBroker, now: datetime
) -> None:
    worker = FakeWorker("anna", now=now)
    make_drive()
    plan_now(now)
    farm.send_assignments(now)
    lost = farm.take_sent()
    assert len(lost) == 1
    worker.send_report(now + SECOND)
    assert farm.take_deferred("control.send_assignment") == []
    worker.send_report(now + 15 * SECOND)
    farm.send_assignments(now + 15 * SECOND)
    for sent in farm.take_sent():
        worker.hear(sent, now)
    assert worker.held
    worker.send_report(now + 60 * SECOND)
    assert farm.take_deferred("control.send_assignment") == []


def test_a_worker_ahead_of_a_restored_database_is_brought_back(farm: FakeBroker, now: datetime) -> None:
    worker = FakeWorker("anna", now=now)
    make_drive()
    plan_now(now)
    run_until_idle(farm, [worker], now)
    AssignmentState.objects.update(version=0, digest="")
    worker.assignment = worker.assignment.__class__(version=500)
    worker.send_report(now + SECOND)
    run_until_idle(farm, [worker], now + SECOND)
    assert worker.assignment.version == 501
    assert len(worker.assignment.entries) == 1


def test_copies_not_heard_of_are_asked_about(farm: FakeBroker, now: datetime) -> None:
    worker = FakeWorker("anna", now=now)
    FakeWorker("bert", now=now)
    drive = make_drive()
    Replica.objects.create(drive=drive, worker=worker.row, created_at=now)
    later = now + timedelta(seconds=600)
    Worker.objects.update(last_seen_at=later)
    assert assignments.refresh_stale(now) == 0
    assert assignments.refresh_stale(later) == 1
    assert [sent.task for sent in farm.take_sent()] == [REFRESH]


# --- convergence


class Network:
    """Loses, doubles and reorders what it carries."""

    def __init__(self, rng: random.Random, loss: float) -> None:
        self.rng = rng
        self.loss = loss
        self.waiting: list[Callable[[], object]] = []

    def carry(self, deliver: Callable[[], object]) -> None:
        if self.rng.random() >= self.loss:
            self.waiting += [deliver] * (2 if self.rng.random() < 0.2 else 1)

    def deliver(self) -> None:
        waiting, self.waiting = self.waiting, []
        self.rng.shuffle(waiting)
        for deliver in waiting:
            if self.rng.random() < 0.2:
                self.waiting.append(deliver)
            else:
                deliver()


@pytest.mark.slow
@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32))
def test_whatever_the_network_does_workers_come_to_hold_what_is_desired(
    farm_database: FarmDatabase, django_db_blocker: pytest.FixtureRequest, now: datetime, seed: int
) -> None:
    from seederfarm.control.messaging.outbox import outbox

    broker = FakeBroker()
    with django_db_blocker.unblock(), farm_database.flushed(), outbox.through(broker):  # type: ignore[attr-defined]
        converge(broker, now, random.Random(seed))


def converge(broker: FakeBroker, now: datetime, rng: random.Random) -> None:
    workers = [FakeWorker(f"w{number}", now=now) for number in range(3)]
    by_id = {worker.node_id: worker for worker in workers}
    for number in range(6):
        make_drive(f"d{number} {rng.random()}", replicas_min=1, replicas_max=2, dirty=True)
    network = Network(rng, loss=0.3)
    outages = OutageDetector(now - timedelta(days=1))
    for step in range(75):
        now += 10 * SECOND
        network.loss = 0.3 if step < 30 else 0.0
        if step < 25:
            disturb(rng)
        reconcile(everything=step % 5 == 0, now=now, outages=outages)
        broker.send_assignments(now)
        assignments.refresh_stale(now)
        for sent in broker.take_sent():
            network.carry(lambda sent=sent, at=now: by_id[sent.queue.split(".")[1]].hear(sent, at))  # type: ignore[misc]
        for worker in workers:
            worker.work(rng)
            status = worker.status(now) if worker.refresh or rng.random() < 0.5 else []
            worker.refresh = False
            message = worker.report(now, *status)
            if status:
                worker.held = {key: phase for key, phase in worker.held.items() if phase != "removed"}
            network.carry(lambda message=message, at=now: ingest_report(message, at))  # type: ignore[misc]
        network.deliver()
        prove_all(now)
        check_invariants()
    held = {(key, worker.name) for worker in workers for key in worker.held}
    assert held == desired()
    assert not Replica.objects.filter(desired=False).exists()
    assert not Replica.objects.exclude(phase="complete").exists()
    for drive in Drive.objects.all():
        assert drive.replicas_min <= drive.replicas.count() <= max(drive.replicas_min, drive.replicas_max)


def disturb(rng: random.Random) -> None:
    drive = rng.choice(list(Drive.objects.all()))
    largest = rng.randint(1, 3)
    drive_services.set_replicas([drive], rng.randint(1, largest), largest, "cli")


def check_invariants() -> None:
    """A drive that has a complete copy anywhere keeps a desired one."""
    had = set(Replica.objects.filter(phase="complete").values_list("drive_id", flat=True))
    keeps = set(Replica.objects.filter(desired=True).values_list("drive_id", flat=True))
    assert had <= keeps


def test_the_fake_worker_ignores_orders_of_others(farm: FakeBroker, now: datetime) -> None:
    anna, bert = FakeWorker("anna", now=now), FakeWorker("bert", now=now)
    make_drive()
    Replica.objects.create(drive=Drive.objects.get(), worker=anna.row)
    assignments.send_assignment(anna.row.pk, now)
    (sent,) = farm.take_sent()
    bert.hear(Sent(*sent), now)
    assert bert.held == {}
    anna.hear(sent, now)
    assert len(anna.held) == 1
