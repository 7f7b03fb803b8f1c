"""Seconds of each day in which a drive was safe, at risk or unavailable."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from seederfarm.registry.models import Drive, DriveDay
from seederfarm.registry.uptime import DAY, DAYS, Change, Day, days_of, prune, record

from ...support.databases import FarmDatabase
from .factories import make_drive

NOON = datetime(2026, 8, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def drive(database: FarmDatabase) -> Drive:
    drive = make_drive()
    Drive.objects.update(health_since=NOON, created_at=NOON - timedelta(days=10))
    drive.refresh_from_db()
    return drive


def become(drive: Drive, health: str, at: datetime) -> None:
    record([Change(drive.pk, drive.health, drive.health_since, health)], at)
    Drive.objects.filter(pk=drive.pk).update(health=health, health_since=at)
    drive.refresh_from_db()


def of(drive: Drive, now: datetime, number: int = 1) -> list[tuple[int, int, int]]:
    return [day[1:] for day in days_of(drive, now)[-number:]]


def test_what_lasts_needs_no_rows(drive: Drive) -> None:
    assert set(of(drive, NOON + HOUR, DAYS)) == {(0, 0, 0)}
    become(drive, "safe", NOON)
    assert of(drive, NOON + HOUR, 2) == [(0, 0, 0), (3600, 0, 0)]
    later = NOON + timedelta(days=200)
    assert of(drive, later, DAYS) == [(DAY, 0, 0)] * (DAYS - 1) + [(DAY // 2, 0, 0)]
    assert DriveDay.objects.count() == 1
    assert days_of(drive, later)[-1] == Day(later.date(), DAY // 2, 0, 0)


def test_nothing_is_known_of_days_before_the_drive_was_added(drive: Drive) -> None:
    """Rows of such days are of a clock that was wrong."""
    become(drive, "safe", NOON)
    Drive.objects.update(created_at=NOON + timedelta(days=2))
    drive.refresh_from_db()
    assert of(drive, NOON + timedelta(days=3), 4) == [(0, 0, 0), (0, 0, 0), (DAY, 0, 0), (DAY // 2, 0, 0)]


def test_a_change_ends_the_time_before_it_on_all_days_since(drive: Drive) -> None:
    become(drive, "safe", NOON)
    become(drive, "unavailable", NOON + timedelta(days=2))
    become(drive, "copying", NOON + timedelta(days=2, hours=1))
    become(drive, "safe", NOON + timedelta(days=2, hours=2))
    now = NOON + timedelta(days=3)
    assert of(drive, now, 5) == [
        (0, 0, 0), (DAY // 2, 0, 0), (DAY, 0, 0), (DAY - 7200, 3600, 3600), (DAY // 2, 0, 0),
    ]  # fmt: skip
    assert DriveDay.objects.count() == 2


def test_what_a_person_sets_aside_counts_nowhere(drive: Drive) -> None:
    become(drive, "safe", NOON)
    become(drive, "paused", NOON + HOUR)
    assert of(drive, NOON + 30 * HOUR, 2) == [(3600, 0, 0), (0, 0, 0)]
    become(drive, "rewritten", NOON + 30 * HOUR)
    assert of(drive, NOON + 31 * HOUR, 2) == [(3600, 0, 0), (0, 3600, 0)]


def test_a_clock_that_went_back_counts_nothing_twice(drive: Drive) -> None:
    become(drive, "safe", NOON)
    become(drive, "at_risk", NOON - 30 * HOUR)
    become(drive, "safe", NOON + HOUR)
    assert all(sum(seconds) <= DAY for seconds in of(drive, NOON + HOUR, 4))


def test_any_number_of_drives_takes_the_same_queries(database: FarmDatabase) -> None:
    def count(number: int) -> int:
        changes = [Change(make_drive().pk, "waiting", NOON, "safe") for _ in range(number)]
        with CaptureQueriesContext(connection) as queries:
            record(changes, NOON + HOUR)
        return len(queries)

    assert count(1) == count(30)


def test_old_rows_go_and_the_last_state_stays_known(drive: Drive) -> None:
    for hours in range(0, 24 * 5, 12):
        become(drive, "at_risk" if drive.health == "safe" else "safe", NOON + hours * HOUR)
    now = NOON + timedelta(days=DAYS + 3)
    before = days_of(drive, now)
    assert prune(now) == 3
    assert days_of(drive, now) == before
    assert prune(now) == 0
    much_later = NOON + timedelta(days=400)
    assert prune(much_later) == DriveDay.objects.count() + 1 or DriveDay.objects.count() == 1
    assert set(of(drive, much_later, DAYS - 1)) - {(0, DAY, 0), (0, DAY // 2, 0)} == set()
    assert days_of(drive, much_later)[0].day == date(2027, 7, 1)
