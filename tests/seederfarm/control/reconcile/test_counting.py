"""Which copies count towards the number that a drive should have, and in place of another one."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from farmwire.tasks import AUDIT
from seederfarm.control.reconcile import apply
from seederfarm.control.reconcile.liveness import OutageDetector
from seederfarm.control.reconcile.reconcile import reconcile
from seederfarm.control.reports import audits
from seederfarm.placement.model import Assign, Release, ReleaseReason
from seederfarm.registry.models import Challenge, Drive, Replica, Worker
from seederfarm.registry.services import workers as worker_services
from seederfarm.registry.services.copies import last_copies_on
from seederfarm.registry.services.drains import drain_progress

from ...registry.factories import make_drive, make_replica, make_worker
from ..fakes import FakeBroker, FakeWorker, copy_of, prove_all

SECOND = timedelta(seconds=1)
TICK = timedelta(seconds=10)


def plan_now(now: datetime) -> None:
    reconcile(now=now, outages=OutageDetector(now - timedelta(days=1)))


def two_copies(now: datetime, *, smallest: int = 1) -> tuple[Drive, FakeWorker, FakeWorker]:
    """Of which anna has proven hers."""
    drive = make_drive(replicas_min=smallest, replicas_max=2)
    anna, bert = (FakeWorker(name, now=now) for name in ("anna", "bert"))
    plan_now(now)
    assert Replica.objects.filter(desired=True).count() == 2
    anna.send_report(now, copy_of(drive.key, "complete", now))
    prove_all(now)
    return drive, anna, bert


def kept() -> set[str]:
    return set(Replica.objects.filter(desired=True).values_list("worker__name", flat=True))


def test_a_new_copy_takes_no_others_place_before_it_is_proven(farm: FakeBroker, now: datetime) -> None:
    drive, anna, bert = two_copies(now)
    bert.send_report(now + SECOND, copy_of(drive.key, "complete", now + SECOND))
    assert Replica.objects.get(worker=bert.row).is_proof_pending
    worker_services.drain([anna.row], "cli")
    plan_now(now + SECOND)
    assert kept() == {"anna", "bert"}
    assert drain_progress(anna.row.pk).waiting == 1
    with transaction.atomic():
        apply.release([Release(drive.pk, anna.row.pk, ReleaseReason.DRAINED)], now)
    assert kept() == {"anna", "bert"}, "nor where it is written"
    assert last_copies_on(anna.row) == [drive.pk]
    assert worker_services.retire([anna.row], "cli").retired == 0

    prove_all(now + TICK)
    assert drain_progress(anna.row.pk).waiting == 0 and last_copies_on(anna.row) == []
    plan_now(now + TICK)
    assert kept() == {"bert"}


def test_a_drive_is_short_of_copies_until_enough_are_proven(farm: FakeBroker, now: datetime) -> None:
    drive, _, bert = two_copies(now, smallest=2)
    bert.send_report(now + SECOND, copy_of(drive.key, "complete", now + SECOND))
    plan_now(now + SECOND)
    drive.refresh_from_db()
    assert drive.under_replicated
    prove_all(now + 2 * SECOND)
    plan_now(now + 2 * SECOND)
    drive.refresh_from_db()
    assert not drive.under_replicated


def test_what_was_proven_before_a_copy_was_lost_counts_no_more(farm: FakeBroker, now: datetime) -> None:
    drive, anna, _ = two_copies(now)
    copy = Replica.objects.get(worker=anna.row)
    assert copy.proven
    for number, phase in enumerate(("error", "complete"), 1):
        anna.send_report(now + number * TICK, copy_of(drive.key, phase, now + number * TICK))
        copy.refresh_from_db()
        assert not copy.proven, phase
    # The clock of a worker does not decide which came first.
    prove_all(now + 2 * TICK)
    for number, phase in enumerate(("error", "complete"), 3):
        observed = now + TICK + number * SECOND  # before the proof, after the newest report
        Replica.objects.update(last_report_at=now)
        anna.send_report(now + number * TICK, copy_of(drive.key, phase, observed))
    copy.refresh_from_db()
    assert copy.phase == "complete" and not copy.proven


def test_a_copy_that_is_assigned_again_has_to_prove_itself_again(farm: FakeBroker, now: datetime) -> None:
    drive, anna, _ = two_copies(now)
    Replica.objects.filter(worker=anna.row).update(desired=False, released_at=now)
    apply.assign([Assign(drive.pk, anna.row.pk, 0)], now + TICK)
    copy = Replica.objects.get(worker=anna.row)
    assert copy.desired and copy.phase == "assigned"
    assert copy.last_proven_at is None and not copy.proven
    anna.send_report(now + 2 * TICK, copy_of(drive.key, "complete", now + 2 * TICK))
    copy.refresh_from_db()
    assert copy.is_complete and not copy.proven


def test_complete_copies_of_nothing_count_for_nothing_and_hold_nothing_up(
    farm: FakeBroker, now: datetime
) -> None:
    """A worker may say so of any key, and there is nothing that it could prove."""
    drive, anna, bert = two_copies(now)
    bert.send_report(
        now + SECOND,
        copy_of(
            drive.key, "complete", now + SECOND, length=0, blocks=0, have_blocks=0, bytes=0, have_bytes=0
        ),
    )
    assert not Replica.objects.get(worker=bert.row).proven
    worker_services.drain([anna.row], "cli")
    plan_now(now + SECOND)
    assert "anna" in kept()
    worker_services.activate([anna.row], "cli")
    worker_services.drain([bert.row], "cli")
    assert last_copies_on(bert.row) == []
    plan_now(now + TICK)
    assert kept() == {"anna"}

    empty = make_drive(replicas_min=1, replicas_max=1)
    copies = [make_replica(empty, worker.row, length=0, last_proven_at=None) for worker in (anna, bert)]
    plan_now(now + 2 * TICK)
    assert [Replica.objects.get(pk=copy.pk).desired for copy in copies] == [True, False]


def test_new_copies_are_asked_first_and_not_they_alone(farm: FakeBroker, now: datetime) -> None:
    worker = FakeWorker("anna", now=now)
    day = timedelta(days=1)
    old = [
        make_replica(
            make_drive(), worker.row, length=5, total_blocks=5, completed_at=now - 9 * day,
            last_proven_at=now - 3 * day, last_challenged_at=now - 3 * day,
        )
        for _ in range(3)
    ]  # fmt: skip
    new = make_replica(
        make_drive(), worker.row, length=5, total_blocks=5, completed_at=now, last_proven_at=None,
        last_challenged_at=now - TICK,
    )  # fmt: skip
    audits.MAX_RUN, largest = 2, audits.MAX_RUN  # type: ignore[misc]
    try:
        assert audits.challenge_due(now) == 2
    finally:
        audits.MAX_RUN = largest  # type: ignore[misc]
    asked = set(Challenge.objects.values_list("replica_id", flat=True))
    assert new.pk in asked and len(asked & {copy.pk for copy in old}) == 1
    assert {sent.task for sent in farm.take_sent()} == {AUDIT}
    # A challenge that was lost is asked again when it is over, not a day later; one that waits is not.
    Replica.objects.exclude(pk=new.pk).update(last_challenged_at=now)
    Worker.objects.update(last_seen_at=now + 3 * audits.TIME_TO_ANSWER)
    assert audits.challenge_due(now + TICK) == 0
    assert audits.challenge_due(now + audits.TIME_TO_ANSWER + TICK) == 1
    Replica.objects.filter(pk=new.pk).update(proof_failures=3)
    assert audits.challenge_due(now + 3 * audits.TIME_TO_ANSWER) == 0, "one that failed is asked in its turn"


def test_one_definition_of_what_counts_holds_for_every_row(farm: FakeBroker, now: datetime) -> None:
    worker = make_worker()
    for phase in Replica.Phase:
        for failures in (0, 2, 3):
            for proven in (None, now - SECOND, now, now + SECOND):
                copy = make_replica(
                    make_drive(), worker, phase=phase, proof_failures=failures, completed_at=now,
                    last_proven_at=proven,
                )  # fmt: skip
                expected = phase == "complete" and failures < 3 and proven is not None and proven >= now
                assert Replica.objects.get(pk=copy.pk).proven is expected
    copy = make_replica(make_drive(), worker, completed_at=None, last_proven_at=now)
    assert not Replica.objects.get(pk=copy.pk).proven
