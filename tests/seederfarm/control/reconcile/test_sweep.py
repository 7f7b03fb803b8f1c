"""Checking the whole plan: what is found, when it is done, and what is left where it stops half way."""

from __future__ import annotations

import random
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from seederfarm.control.reconcile import apply, beyond_minimum, liveness, load
from seederfarm.control.reconcile import reconcile as module
from seederfarm.control.reconcile.beyond_minimum import Rounds, drives_with_room
from seederfarm.control.reconcile.candidates import drives_to_plan
from seederfarm.control.reconcile.liveness import OutageDetector
from seederfarm.control.reconcile.reconcile import LONGEST_PAUSE, pause_after, reconcile, sweep
from seederfarm.placement.model import Assign, WorkerStatus
from seederfarm.placement.plan import plan
from seederfarm.registry import sql
from seederfarm.registry.models import AssignmentState, Drive, PlanState, Replica, Worker
from seederfarm.registry.queries import under_replicated
from seederfarm.registry.services import keys

from ...registry.factories import key_of, make_drive, make_worker
from ..fakes import GB, FakeBroker, FakeWorker, copy_of, prove_all

SECOND = timedelta(seconds=1)


class Killed(BaseException):
    """Stands for the end of the process: no handler may catch it."""


def heard(now: datetime) -> OutageDetector:
    return OutageDetector(now - timedelta(days=1))


# --- what is found


def random_farm(rng: random.Random, now: datetime) -> None:
    states = ["active"] * 5 + ["draining", "retired", "pending"]
    workers = [
        make_worker(
            state=rng.choice(states),
            zone=rng.choice("abc"),
            free_bytes=rng.choice([0, 1000 * GB, 1000 * GB]),
            last_seen_at=now - rng.choice([0, 0, 100]) * SECOND,
            lost_since=rng.choice([None, None, None, now]),
        )
        for _ in range(12)
    ]
    for _ in range(150):
        smallest = rng.randint(1, 3)
        drive = make_drive(
            replicas_min=smallest,
            replicas_max=smallest + rng.randint(0, 2),
            state=rng.choice(["active"] * 6 + ["paused", "removing"]),
        )
        if rng.random() < 0.1:
            drive.pinned_workers.set(rng.sample(workers, 2))
        for worker in rng.sample(workers, rng.choice([0, 1, 2, 2, 3, 3, 4])):
            desired = rng.random() < 0.9
            Replica.objects.create(
                drive=drive,
                worker=worker,
                phase=rng.choice(["complete", "complete", "downloading"]),
                desired=desired,
                released_at=None if desired else now,
                proof_failures=rng.choice([0, 0, 0, 3]),
            )


@pytest.mark.usefixtures("registry")
def test_pins_of_a_few_drives_are_found_by_an_index() -> None:
    """SQLite would otherwise compare all pins with each drive."""
    with CaptureQueriesContext(connection) as queries:
        load.load([1, 2])
    table = re.compile(r'"registry_(drive_pinned_workers|blindcore)"')
    about_pins = [query["sql"] for query in queries.captured_queries if table.search(query["sql"])]
    assert about_pins
    with connection.cursor() as cursor:
        for query in about_pins:
            cursor.execute(f"EXPLAIN QUERY PLAN {query}")
            steps = [str(row[3]) for row in cursor.fetchall()]
            assert any(re.match(r"SEARCH registry_\w+ USING .*INDEX", step) for step in steps), steps
            assert not any(re.match(r"SCAN registry_", step) for step in steps), steps


def test_whatever_a_plan_changes_is_found_by_the_database(farm: FakeBroker, now: datetime) -> None:
    random_farm(random.Random(9), now)
    seen = liveness.workers()
    ids = list(Drive.objects.values_list("pk", flat=True))
    state = load.load(ids)
    decided = plan(state.drives, load.workers(seen, now), state.replicas)
    moved = {move.drive for move in (*decided.assign, *decided.release, *decided.unplaced)}
    found, more = drives_to_plan(seen, now), drives_with_room(seen, now, Rounds())
    assert len(moved) > 50  # the farm is as untidy as it was meant to be
    assert moved <= {*found, *more}
    assert {*found, *more} < set(ids)
    counting = {
        w.id for w in seen if liveness.status_of(w, now) in (WorkerStatus.ACTIVE, WorkerStatus.SILENT)
    }
    beyond = {
        drive.id
        for drive in state.drives
        if not drive.pinned
        and sum(copy.worker in counting for copy in state.replicas.get(drive.id, ())) >= drive.replicas_min
    }
    wanted = beyond & {move.drive for move in decided.assign}
    assert len(wanted) > 5 and wanted <= set(more)


def test_a_worker_that_joins_gets_the_copies_for_which_there_was_no_room(
    farm: FakeBroker, now: datetime
) -> None:
    FakeWorker("anna", now=now)
    drives = [make_drive(replicas_min=1, replicas_max=2) for _ in range(3)]
    reconcile(now=now, outages=heard(now))
    assert reconcile(now=now, outages=heard(now)).drives == 0, "with one worker there is no room for more"
    FakeWorker("bert", now=now)
    assert reconcile(everything=False, now=now, outages=heard(now)).moves == 0
    assert reconcile(dry_run=True, now=now).assigned == 3
    result = reconcile(now=now, outages=heard(now))
    assert {move.drive for move in result.assign} == {drive.pk for drive in drives}
    assert result.short == 0 and reconcile(now=now, outages=heard(now)).drives == 0


def test_copies_beyond_the_minimum_are_made_some_a_round(
    farm: FakeBroker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beyond_minimum, "CHECKED_AT_ONCE", 2)
    FakeWorker("anna", now=now)
    for _ in range(5):
        make_drive(replicas_min=1, replicas_max=2)
    reconcile(now=now, outages=heard(now))
    FakeWorker("bert", now=now)
    monkeypatch.setattr(module, "ROUNDS", Rounds())
    done = [reconcile(now=now, outages=heard(now)).assigned for _ in range(4)]
    assert done == [2, 2, 1, 0]


def test_copies_beyond_the_minimum_wait_a_day_for_a_lost_worker(farm: FakeBroker, now: datetime) -> None:
    FakeWorker("anna", now=now)
    bert = FakeWorker("bert", now=now)
    make_drive(replicas_min=1, replicas_max=2)
    reconcile(now=now, outages=heard(now))
    FakeWorker("cleo", now=now)
    later = now + liveness.EXPECTED_FOR
    Worker.objects.exclude(pk=bert.row.pk).update(last_seen_at=later)
    Worker.objects.filter(pk=bert.row.pk).update(lost_since=now)
    assert reconcile(now=later - SECOND, outages=heard(later)).moves == 0
    assert reconcile(now=later, outages=heard(later)).assigned == 1


def test_in_a_farm_that_has_settled_nothing_is_loaded(farm: FakeBroker, now: datetime) -> None:
    FakeWorker("anna", now=now)
    FakeWorker("bert", now=now)
    for _ in range(5):
        make_drive(replicas_min=1, replicas_max=2)
    assert reconcile(now=now, outages=heard(now)).drives == 5
    assert reconcile(now=now, outages=heard(now)).drives == 0


def test_drives_are_planned_in_parts_and_what_matters_most_first(
    farm: FakeBroker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PLANNED_AT_ONCE", 1)
    make_worker(free_bytes=10 * GB, last_seen_at=now)
    later, sooner = (make_drive(byte_length=8 * GB, priority=priority) for priority in (5, 0))
    result = reconcile(now=now, outages=heard(now))
    assert [move.drive for move in result.assign] == [sooner.pk]
    assert [item.drive for item in result.unplaced] == [later.pk]
    assert (result.drives, result.assigned) == (2, 1)


def test_very_many_new_keys_are_found_without_marks(
    farm: FakeBroker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeWorker("anna", now=now)
    monkeypatch.setattr(keys, "SIGNALLED", 3)
    keys.add_keys("\n".join(key_of(number) for number in range(5)), replicas=(1, 1), actor="cli")
    assert farm.take_deferred("control.reconcile") == [[]]
    assert PlanState.objects.get().sweep_requested
    assert not Drive.objects.filter(dirty=True).exists()
    assert sweep(now, heard(now)).assigned == 5
    keys.add_keys(key_of("one more"), replicas=(1, 1), actor="cli")
    assert Drive.objects.filter(dirty=True).count() == 1


def test_what_could_not_be_written_behind_the_planner_is_no_secret(
    farm: FakeBroker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeWorker("anna", now=now)
    for _ in range(3):
        make_drive()

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module, "PLANNED_AT_ONCE", 1)
        patch.setattr(apply, "assign", killed)
        reconcile(now=now, outages=heard(now))
    assert PlanState.objects.get().unfinished
    assert reconcile(everything=False, now=now, outages=heard(now)).assigned == 3


def test_drives_are_marked_as_short_of_copies_and_the_mark_is_put_right(
    farm: FakeBroker, now: datetime
) -> None:
    worker = FakeWorker("anna", now=now)
    drive = make_drive(replicas_min=1, replicas_max=1)
    reconcile(now=now, outages=heard(now))
    assert set(under_replicated(Drive.objects.all())) == {drive}
    worker.send_report(now + SECOND, copy_of(drive.key, "complete", now + SECOND))
    prove_all(now + SECOND)
    reconcile(everything=False, now=now, outages=heard(now))
    assert not under_replicated(Drive.objects.all())
    Replica.objects.update(phase="error")  # nobody said so
    assert reconcile(now=now, outages=heard(now)).drives == 1
    assert set(under_replicated(Drive.objects.all())) == {drive}


# --- writing


@pytest.mark.parametrize("copied", [True, False])
def test_moves_are_written_whatever_became_of_drives_and_workers(
    farm: FakeBroker, now: datetime, monkeypatch: pytest.MonkeyPatch, copied: bool
) -> None:
    """Both ways into the database: as rows of the statement, and (on PostgreSQL) copied."""
    if copied:
        monkeypatch.setattr(sql, "COPIED_FROM", 1)
    anna, bert = make_worker(), make_worker(state="retired")
    fresh, back, kept, paused = (make_drive() for _ in range(4))
    Drive.objects.filter(pk=paused.pk).update(state="paused")
    Replica.objects.create(drive=back, worker=anna, desired=False, released_at=now, phase="complete")
    Replica.objects.create(drive=kept, worker=anna, phase="complete")
    gone = paused.pk + 1000
    wanted = [(drive, anna.pk) for drive in (fresh.pk, back.pk, kept.pk, paused.pk, gone)]
    with module.transaction.atomic():
        apply.assign([Assign(*pair, 0) for pair in [*wanted, (fresh.pk, bert.pk)]], now)
        apply.assign([Assign(fresh.pk, anna.pk, 0)], now)  # twice is once
    rows = Replica.objects.filter(desired=True).values_list("drive_id", "worker_id", "phase")
    assert set(rows) == {
        (fresh.pk, anna.pk, "assigned"),
        (back.pk, anna.pk, "assigned"),
        (kept.pk, anna.pk, "complete"),
    }


def test_a_reconciler_that_was_killed_leaves_what_it_wrote_and_the_next_one_finishes(
    farm: FakeBroker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("anna", "bert", "cleo"):
        FakeWorker(name, now=now)
    for _ in range(10):
        make_drive(replicas_min=2, replicas_max=2, dirty=True)
    monkeypatch.setattr(module, "WRITE_BATCH", 4)
    write, left = apply.assign, [1, 1]

    def killed(*arguments: Any) -> None:
        write(*arguments)
        if not left:
            raise Killed
        left.pop()

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(apply, "assign", killed)
        reconcile(everything=False, now=now, outages=heard(now))

    written = Replica.objects.count()
    assert written == 8  # two batches, and nothing of the third
    versions = dict(AssignmentState.objects.values_list("worker_id", "version"))
    holders = set(Replica.objects.values_list("worker_id", flat=True))
    assert holders == {pk for pk, version in versions.items() if version > 0}
    assert not Drive.objects.filter(dirty=True).exists()
    assert PlanState.objects.get().unfinished

    resumed = reconcile(everything=False, now=now, outages=heard(now))
    assert resumed.assigned == 20 - written
    assert not PlanState.objects.get().unfinished
    assert reconcile(now=now, outages=heard(now)).moves == 0


# --- when it is done


def test_what_takes_long_is_done_less_often_but_once_an_hour() -> None:
    assert pause_after(0.01) == pytest.approx(0.09)
    assert pause_after(20) == pytest.approx(180)
    assert pause_after(10_000) == LONGEST_PAUSE


def swept(seconds: float, at: datetime) -> None:
    PlanState.objects.update_or_create(pk=1, defaults={"swept_at": at, "swept_seconds": seconds})


def test_the_whole_plan_is_checked_every_minute_and_by_one_of_two_beats(
    farm: FakeBroker, now: datetime
) -> None:
    FakeWorker("anna", now=now)
    make_drive()
    assert sweep(now, heard(now)).assigned == 1
    Replica.objects.all().delete()
    assert sweep(now + SECOND, heard(now)).drives == 0
    assert sweep(now + 62 * SECOND, heard(now)).drives == 1


def test_checking_takes_no_more_than_its_share_of_the_time(farm: FakeBroker, now: datetime) -> None:
    FakeWorker("anna", now=now)
    make_drive()
    swept(20.0, now)
    assert sweep(now + 100 * SECOND, heard(now)).drives == 0
    assert sweep(now + 181 * SECOND, heard(now)).drives == 1


def test_a_request_to_do_it_sooner_is_remembered_until_it_was_done(farm: FakeBroker, now: datetime) -> None:
    FakeWorker("anna", now=now)
    make_drive()
    swept(1.0, now)
    assert sweep(now + SECOND, heard(now), requested=True).drives == 0  # 1 s of work, 9 s of rest
    assert sweep(now + 10 * SECOND, heard(now)).drives == 1
    assert not PlanState.objects.get().sweep_requested
    assert sweep(now + 25 * SECOND, heard(now)).drives == 0


def test_a_clock_that_was_set_back_does_not_put_it_off(farm: FakeBroker, now: datetime) -> None:
    FakeWorker("anna", now=now)
    make_drive()
    swept(0.0, now + timedelta(days=300))
    assert sweep(now, heard(now)).drives == 1


def test_one_that_was_killed_is_made_good_at_the_next_look(farm: FakeBroker, now: datetime) -> None:
    FakeWorker("anna", now=now)
    make_drive()
    swept(0.0, now)
    PlanState.objects.update(unfinished=True)
    assert sweep(now + SECOND, heard(now)).drives == 1
    assert Worker.objects.get().replicas.count() == 1
