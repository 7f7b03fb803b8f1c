"""Seconds of each day that a drive was safe, at risk or unavailable; the last 90 days.

Rows are written when the state of a drive changes, in the same transaction. A drive that stays as it is needs
none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db.models import Exists, OuterRef

from .health_states import Health
from .models import Drive, DriveDay, StateChange
from .sql import execute, rows_as_table

DAYS: Final = 90
"""Days that are kept and shown. Ours."""
DAY: Final = 86400
PRUNED_AT_ONCE: Final = 5000
COLUMNS: Final = ("safe", "at_risk", "unavailable")
_COLUMNS: Final = (
    ("drive_id", "bigint"),
    ("day", "date"),
    *((name, "integer") for name in COLUMNS),
    ("ends", "text"),
)
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
        """Seconds of the day in any of the states."""
        return self.safe + self.at_risk + self.unavailable


def record(changes: Sequence[Change], now: datetime) -> None:
    """Add the time in the states that ended now, one change of a drive at most, and list the changes. Call it
    with the drives locked. Two statements."""
    if not changes:
        return
    StateChange.objects.bulk_create(
        StateChange(at=now, drive=change.drive, before=change.before, after=change.after)
        for change in changes
    )
    today = now.astimezone(UTC).date()
    rows = []
    for drive, before, since, after in sorted(changes):
        column, ends = COLUMN_OF.get(Health(before), ""), COLUMN_OF.get(Health(after), "")
        first = since.astimezone(UTC).date()
        if column and first < today:
            rows.append(_row(drive, first, column, _seconds(since, _end(first)), column))
            rows.append(_row(drive, today, column, _seconds(_start(today), now), ends))
        else:
            rows.append(_row(drive, today, column, _seconds(since, now) if first == today else 0, ends))
    table, parameters = rows_as_table(_COLUMNS, rows)
    names = ", ".join(name for name, _ in _COLUMNS)
    # A day has no more seconds than DAY, also after a clock that went back
    full = f"{DAY} - d.safe - d.at_risk - d.unavailable"
    adds = ", ".join(f"{name} = d.{name} + {_smaller(f'excluded.{name}', full)}" for name in COLUMNS)
    execute(
        f"INSERT INTO registry_driveday AS d ({names}) SELECT {names} FROM {table} WHERE true "
        f"ON CONFLICT (drive_id, day) DO UPDATE SET {adds}, ends = excluded.ends",
        parameters,
    )


def _row(drive: int, day: date, column: str, seconds: int, ends: str) -> tuple[Any, ...]:
    return (drive, day, *(seconds if name == column else 0 for name in COLUMNS), ends)


def _smaller(one: str, other: str) -> str:
    return f"CASE WHEN {one} < {other} THEN {one} ELSE {other} END"


def days_of(drive: Drive, now: datetime) -> list[Day]:
    """The last 90 days, the newest last, with today until now. Nothing is known of those before the drive was
    added. Two queries."""
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=DAYS - 1)
    mine = DriveDay.objects.filter(drive=drive)
    rows = {row.day: row for row in mine.filter(day__gte=first)}
    before = mine.filter(day__lt=first).order_by("-day").values_list("ends", flat=True).first()
    found, column = [], before or ""
    added = drive.created_at.astimezone(UTC).date()
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
        found.append(Day(day, **seconds) if day >= added else Day(day, 0, 0, 0))
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


def _seconds(start: datetime, end: datetime) -> int:
    return max(0, int((end - start).total_seconds()))


def _start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _end(day: date) -> datetime:
    return _start(day) + timedelta(days=1)
