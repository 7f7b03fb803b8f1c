"""Seconds of each day that a drive was safe, at risk or unavailable; the last 90 days.

Rows are written when the state of a drive changes, in the same transaction. A drive that stays as it is needs
none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from django.db.models import Exists, OuterRef

from .health_states import Health
from .models import Drive, DriveDay, StateChange

DAYS: Final = 90
"""Days that are kept and shown. Ours."""
DAY: Final = 86400
PRUNED_AT_ONCE: Final = 5000
COLUMNS: Final = ("safe", "at_risk", "unavailable")
COLUMN_OF: Final = {
    Health.SAFE: "safe",
    Health.COPYING: "at_risk",
    Health.AT_RISK: "at_risk",
    Health.REWRITTEN: "at_risk",
    Health.UNAVAILABLE: "unavailable",
}
"""Other states are counted nowhere: nothing is known of it, or a person has set it aside."""


class Change(NamedTuple):
    """A drive was in one state since then, and is in another now."""

    drive: int
    before: str
    since: datetime
    after: str


class Day(NamedTuple):
    """Seconds of one day; they need not fill it."""

    day: date
    safe: int
    at_risk: int
    unavailable: int

    @property
    def known(self) -> int:
        return self.safe + self.at_risk + self.unavailable


def record(changes: Sequence[Change], now: datetime) -> None:
    """Add the time in the states that ended now, and list the changes. Call it with the drives locked. Three
    statements."""
    if not changes:
        return
    StateChange.objects.bulk_create(
        StateChange(at=now, drive=change.drive, before=change.before, after=change.after)
        for change in changes
    )
    today = now.astimezone(UTC).date()
    days = {change.since.astimezone(UTC).date() for change in changes} | {today}
    known = DriveDay.objects.filter(drive__in=[change.drive for change in changes], day__in=days)
    rows = {(row.drive_id, row.day): row for row in known}

    def row_of(drive: int, day: date) -> DriveDay:
        return rows.setdefault((drive, day), DriveDay(drive_id=drive, day=day))

    for change in changes:
        column = COLUMN_OF.get(Health(change.before), "")
        first = change.since.astimezone(UTC).date()
        if column and first <= today:
            _add(row_of(change.drive, first), column, _seconds(change.since, min(now, _end(first))))
        if column and first < today:
            _add(row_of(change.drive, today), column, _seconds(_start(today), now))
        row_of(change.drive, today).ends = COLUMN_OF.get(Health(change.after), "")
        if column and first < today:
            row_of(change.drive, first).ends = column
    DriveDay.objects.bulk_create(
        sorted(rows.values(), key=lambda row: (row.drive_id, row.day)),
        update_conflicts=True,
        unique_fields=["drive", "day"],
        update_fields=[*COLUMNS, "ends"],
    )


def days_of(drive: Drive, now: datetime) -> list[Day]:
    """The last 90 days, the newest last, with today until now. Two queries."""
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=DAYS - 1)
    mine = DriveDay.objects.filter(drive=drive)
    rows = {row.day: row for row in mine.filter(day__gte=first)}
    before = mine.filter(day__lt=first).order_by("-day").values_list("ends", flat=True).first()
    found, column = [], before or ""
    since = drive.health_since.astimezone(UTC)
    for number in range(DAYS):
        day = first + timedelta(days=number)
        end = min(now, _end(day))
        row = rows.get(day)
        seconds = dict.fromkeys(COLUMNS, 0)
        if row is not None:
            seconds = {name: getattr(row, name) for name in COLUMNS}
            column = row.ends
            if column and since.date() == day:  # the state that lasts: not in the row yet
                seconds[column] += _seconds(since, end)
        elif column:
            seconds[column] = _seconds(_start(day), end)
        found.append(Day(day, **seconds))
    return found


def prune(now: datetime) -> int:
    """Delete rows of older days, but for the last one of each drive: days after it are as it ended.

    Returns how many.
    """
    first = now.astimezone(UTC).date() - timedelta(days=DAYS)
    later = DriveDay.objects.filter(drive=OuterRef("drive"), day__gt=OuterRef("day"), day__lte=first)
    old = DriveDay.objects.filter(Exists(later), day__lt=first)
    done = 0
    while ids := list(old.order_by("pk").values_list("pk", flat=True)[:PRUNED_AT_ONCE]):
        done += DriveDay.objects.filter(pk__in=ids).delete()[0]
    return done


def _add(row: DriveDay, column: str, seconds: int) -> None:
    total = sum(getattr(row, name) for name in COLUMNS)
    setattr(row, column, getattr(row, column) + min(seconds, DAY - total))


def _seconds(start: datetime, end: datetime) -> int:
    return max(0, int((end - start).total_seconds()))


def _start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _end(day: date) -> datetime:
    return _start(day) + timedelta(days=1)
