"""The stored health of drives: at once after a change, in time when time changes it, right in the end."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from seederfarm.registry import services, stored_health
from seederfarm.registry.health import ARRIVING
from seederfarm.registry.health_states import Health
from seederfarm.registry.models import Alert, Drive, Replica, Worker
from seederfarm.registry.models.history import FORK_ALERT
from seederfarm.registry.stored_health import changed, refresh, refresh_due, sweep

from ...support.databases import FarmDatabase
from .factories import make_drive, make_replica, make_worker

NOW = datetime(2026, 8, 24, 14, 32, tzinfo=UTC)
HOUR = timedelta(hours=1)
PROOF_COUNTS = timedelta(seconds=2 * settings.FARM.audit_every)


def drive_with(number: int = 1, *, at: datetime = NOW, **values: Any) -> Drive:
    """With that many copies that count."""
    drive = make_drive(**{"length": 7, "fork": 0, **values})
    for _ in range(number):
        Replica.objects.create(
            drive=drive, worker=make_worker(), phase="complete", length=7, have_blocks=7, completed_at=at,
            last_proven_at=at, proven_length=7, created_at=at - HOUR,
        )  # fmt: skip
    refresh([drive.pk], at)
    return Drive.objects.get(pk=drive.pk)


def health(drive: Drive) -> str:
    return Drive.objects.values_list("health", flat=True).get(pk=drive.pk)


def test_it_has_what_follows_from_the_copies_and_since_when(database: FarmDatabase) -> None:
    drive = drive_with(2)
    assert (drive.health, drive.counted, drive.proven_at, drive.health_since) == ("safe", 2, NOW, NOW)
    Replica.objects.filter(drive=drive).update(last_proven_at=NOW + HOUR)
    assert refresh([drive.pk], NOW + HOUR) == 1
    drive.refresh_from_db()
    assert (drive.proven_at, drive.health_since) == (NOW + HOUR, NOW)
    assert refresh([drive.pk], NOW + HOUR) == 0
    Replica.objects.all().delete()
    refresh([drive.pk], NOW + 2 * HOUR)
    drive.refresh_from_db()
    assert (drive.health, drive.counted, drive.proven_at) == ("unavailable", 0, None)
    assert drive.health_since == NOW + 2 * HOUR


def test_a_new_drive_is_waiting(database: FarmDatabase) -> None:
    drive = make_drive()
    drive.refresh_from_db()
    assert (drive.health, drive.counted) == ("waiting", 0)
    assert refresh([drive.pk]) == 0


def test_time_alone_ends_arriving_and_makes_proofs_too_old(database: FarmDatabase) -> None:
    drive = drive_with(1, replicas_min=2, replicas_max=2)
    late = make_replica(
        drive, make_worker(), phase="downloading", completed_at=None, last_proven_at=None, grew_at=NOW,
        created_at=NOW - HOUR,
    )  # fmt: skip
    refresh([drive.pk], NOW)
    assert health(drive) == "copying"
    assert refresh_due(NOW + ARRIVING - timedelta(seconds=1)) == 0
    assert refresh_due(NOW + ARRIVING) == 1
    assert health(drive) == "at_risk"
    assert refresh_due(NOW + ARRIVING) == 0
    Replica.objects.filter(pk=late.pk).update(
        phase="complete",
        length=7,
        have_blocks=7,
        completed_at=NOW + HOUR,
        last_proven_at=NOW + HOUR,
        proven_length=7,
    )
    refresh([drive.pk], NOW + HOUR)
    assert health(drive) == "safe"
    assert refresh_due(NOW + PROOF_COUNTS - timedelta(seconds=1)) == 0
    assert refresh_due(NOW + PROOF_COUNTS) == 1
    drive.refresh_from_db()
    assert (drive.health, drive.proven_at) == ("at_risk", NOW + HOUR)
    assert refresh_due(NOW + PROOF_COUNTS + HOUR) == 1
    drive.refresh_from_db()
    assert (drive.counted, drive.proven_at) == (0, None)
    assert refresh_due(NOW + 2 * PROOF_COUNTS) == 0


def test_a_copy_that_still_grows_is_looked_at_again(database: FarmDatabase) -> None:
    drive = make_drive(length=7, fork=0)
    values = {"phase": "downloading", "completed_at": None, "last_proven_at": None, "created_at": NOW - HOUR}
    make_replica(drive, make_worker(), grew_at=NOW, **values)
    refresh([drive.pk], NOW)
    Replica.objects.update(grew_at=NOW + timedelta(seconds=90))
    assert refresh_due(NOW + ARRIVING) == 1
    drive.refresh_from_db()
    assert (drive.health, drive.arrived_at) == ("copying", NOW + timedelta(seconds=90))


def test_what_people_do_shows_at_once(database: FarmDatabase) -> None:
    drive = drive_with(2)
    Replica.objects.update(last_proven_at=datetime.now(UTC), completed_at=datetime.now(UTC) - HOUR)
    refresh([drive.pk])
    services.pause([drive], "cli")
    assert health(drive) == "paused"
    services.resume([drive], "cli")
    assert health(drive) == "safe"
    services.set_replicas([drive], 3, 3, "cli")
    assert health(drive) == "at_risk"
    services.set_replicas([drive], 1, 2, "cli")
    assert health(drive) == "safe"
    services.set_paused(list(Worker.objects.all()), True, "cli")
    assert health(drive) == "unavailable"
    services.set_paused(list(Worker.objects.all()), False, "cli")
    assert health(drive) == "safe"
    Alert.objects.create(kind=FORK_ALERT, subject="fork", text="rewritten", drive=drive)
    changed([drive.pk])
    assert health(drive) == "rewritten"
    services.follow_forks([drive], 9, "cli")
    assert health(drive) == "safe"
    assert services.remove([drive], "cli", force=True).removing == 1
    assert health(drive) == "removing"
    services.add_keys(drive.key, actor="cli")
    assert health(drive) == "safe"
    services.retire(list(Worker.objects.all()), "cli", force=True)
    assert health(drive) == "unavailable"


def test_very_many_are_marked_and_follow_soon(
    database: FarmDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_health, "AT_ONCE", 2)
    worker = make_worker()
    drives = [make_drive(length=7, fork=0) for _ in range(3)]
    for drive in drives:
        make_replica(drive, worker, length=7, have_blocks=7)
    assert {health(drive) for drive in drives} == {"safe"}
    services.pause(drives, "cli")
    assert {health(drive) for drive in drives} == {"safe"}
    assert refresh_due() == 3
    assert {health(drive) for drive in drives} == {"paused"}
    services.resume(drives, "cli")
    refresh_due()
    services.set_paused([worker], True, "cli")
    assert refresh_due() == 3
    assert {health(drive) for drive in drives} == {"unavailable"}
    assert refresh_due() == 0


def test_settling_ends_at_its_limit_and_goes_on(
    database: FarmDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_health, "BATCH", 2)
    for _ in range(5):
        make_drive()
    Drive.objects.update(health_stale=True)
    assert [refresh_due(NOW, limit=4), refresh_due(NOW, limit=4), refresh_due(NOW, limit=4)] == [
        4,
        1,
        0,
    ]


def test_a_change_that_was_missed_is_found(database: FarmDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_health, "SWEPT_AT_ONCE", 3)
    drives = [drive_with(1) for _ in range(7)]
    Drive.objects.filter(pk__in=[drives[0].pk, drives[6].pk]).update(health="at_risk", counted=5)
    turns = max(drive.pk for drive in drives) // 3 + 1
    found = [sweep(NOW + number * stored_health.SWEEP_EVERY) for number in range(turns)]
    assert sum(found) == 2
    assert {health(drive) for drive in drives} == {"safe"}
    assert not any(sweep(NOW + number * stored_health.SWEEP_EVERY) for number in range(turns))


@pytest.mark.slow
def test_any_number_costs_the_same_queries(database: FarmDatabase) -> None:
    def count(number: int) -> int:
        drives = [drive_with(2) for _ in range(number)]
        Replica.objects.update(proof_failures=1)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            refresh([drive.pk for drive in drives], NOW)
        Replica.objects.update(proof_failures=0)
        return len(queries)

    assert count(2) == count(40)


def test_two_changes_at_once_are_both_seen(committing_database: FarmDatabase) -> None:
    """Each transaction changes one copy and does not see the copy of the other."""
    drive = drive_with(2, replicas_min=2, replicas_max=2)
    copies = list(Replica.objects.values_list("pk", flat=True))
    barrier, failures = threading.Barrier(2), []

    def fail_proof(copy: int) -> None:
        try:
            with transaction.atomic():
                Replica.objects.filter(pk=copy).update(proof_failures=1)
                if connection.vendor == "postgresql":  # SQLite has one writer at a time
                    barrier.wait(30)
                refresh([drive.pk], NOW)
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=fail_proof, args=(copy,)) for copy in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    drive.refresh_from_db()
    assert (drive.counted, drive.health) == (0, Health.AT_RISK)
