"""What reports show of drives: newest version, title, files, last sight of the writer; health follows.

Each row is written once, since each of its versions is in all indexes of the table.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from farmwire.report import Phase, ReplicaReport
from seederfarm.registry import stored_health
from seederfarm.registry.models import Drive
from seederfarm.registry.replica_states import DesiredPhase
from seederfarm.registry.sql import Columns, execute, rows_as_table

LAST_SEEN_RESOLUTION: Final = timedelta(seconds=60)
"""Resolution of the last sight of a writer: a finer one would write every drive at every report."""

Row = tuple[Any, ...]


class Current(NamedTuple):
    """A replica and its drive as they are in the database."""

    id: int
    drive_id: int
    desired: bool
    phase: str
    last_report_at: datetime | None
    completed_at: datetime | None
    gaps: str
    fork: int
    length: int
    have_blocks: int
    arrived_at: datetime | None
    """Of the drive."""
    label: str
    key: str


class Update(NamedTuple):
    """A row of the update."""

    known: Current
    report: ReplicaReport
    at: datetime
    state: DesiredPhase | None
    """State after the report. None: the copy was removed."""


_DRIVE_COLUMNS: Final = (
    ("id", "bigint"),
    ("kind", "text"),
    ("title", "text"),
    ("length", "bigint"),
    ("fork", "bigint"),
    ("byte_length", "bigint"),
    ("last_writer_seen_at", "timestamptz"),
    ("observed_at", "timestamptz"),
    ("files", "bigint"),
    ("file_bytes", "bigint"),
    ("files_version", "bigint"),
)
_SEEN: Final = (*_DRIVE_COLUMNS, ("dirty", "boolean"))
_LENGTH: Final = [name for name, _ in _DRIVE_COLUMNS].index("length")


def observe(news: list[Update], dirty: set[int], health: set[int], now: datetime) -> None:
    """Update drives with the highest fork, greatest length, and latest sight of the writer in any report;
    mark those that are dirty; store the health of those where it may have changed.

    Call it when the copies are written.
    """
    seen = _seen(news, dirty, health)
    newer = [(pk, *row[_LENGTH : _LENGTH + 2]) for pk, row in seen.items() if pk in health]
    changes = stored_health.changes(health, now, newer) if health else {}
    both = seen.keys() & changes.keys()
    values = {pk: stored_health.values_of(change, now) for pk, change in changes.items()}
    _write((*_SEEN, *stored_health.COLUMNS), [(*seen[pk], *values[pk]) for pk in both])
    _write(_SEEN, [row for pk, row in seen.items() if pk not in both])
    _write((_SEEN[0], *stored_health.COLUMNS), [(pk, *row) for pk, row in values.items() if pk not in both])
    stored_health.record(changes.values(), now)


def _write(columns: Columns, rows: Collection[Row]) -> None:
    if not rows:
        return
    table, parameters = rows_as_table(columns, sorted(rows, key=lambda row: row[0]))
    sets = ", ".join(f"{name} = v.{name}" for name, _ in columns[1:])
    execute(f"UPDATE registry_drive AS d SET {sets} FROM {table} WHERE d.id = v.id", parameters)


def _seen(news: list[Update], dirty: set[int], others: set[int]) -> dict[int, Row]:
    """The rows of drives that change by what was seen, by id. Locks these, and the others."""
    reports = {n.known.drive_id: n for n in news if n.report.length or n.report.writer_seen_at}
    drives = Drive.objects.order_by("pk")
    columns = [name for name, _ in _DRIVE_COLUMNS]
    more = dirty | others
    doubtful = [pk for pk in reports if pk not in more]
    seen = drives.filter(pk__in=doubtful).values_list(*columns) if doubtful else ()
    wanted = {row[0] for row in seen if _newer_observation(row, reports[row[0]])} | more
    if not wanted:
        return {}
    # In the order of their ids, so that the transactions of two reports cannot deadlock.
    locked = list(drives.filter(pk__in=wanted).select_for_update(no_key=True).values_list(*columns, "dirty"))
    found: dict[int, Row] = {}
    for *before, was_dirty in locked:
        row = tuple(before)
        better = _newer_observation(row, reports[row[0]]) if row[0] in reports else None
        marked = was_dirty or row[0] in dirty
        if better is not None or marked != was_dirty:
            found[row[0]] = (*(better or row), marked)
    return found


def _newer_observation(row: Row, news: Update) -> Row | None:
    """The updated row, or None if the report adds nothing to it."""
    pk, kind, title, length, fork, size, writer, observed, files, file_bytes, version = row
    report = news.report
    seen = None if report.writer_seen_at is None else min(time_of(report.writer_seen_at), news.at)
    assert writer is None or isinstance(writer, datetime)
    later = seen is not None and (writer is None or seen >= writer + LAST_SEEN_RESOLUTION)
    known, reported = (fork or 0, length or 0), (report.fork, report.length)
    ahead = (length is None and bool(reported[1])) or reported > known
    same = reported == known and length is not None
    bigger = same and report.bytes > (size or 0)
    titled = (ahead or same) and bool(report.title) and report.title != title
    shown = report.kind is not None and not kind
    if ahead and report.fork != (fork or 0):
        files, file_bytes, version = None, None, 0  # of another history
    # The first count of a version stays: another one of the same would be a lie.
    counted = (
        (ahead or same)
        and report.files is not None
        and report.phase is Phase.COMPLETE
        and report.files_version <= report.length
        and (files is None or report.files_version > version)
    )
    if counted:
        files, file_bytes, version = report.files, report.file_bytes, report.files_version
    if not (later or ahead or bigger or titled or shown or counted):
        return None
    return (
        pk,
        report.kind if shown else kind,
        report.title if titled else title,
        reported[1] if ahead else length,
        reported[0] if ahead else fork,
        report.bytes if ahead or bigger else size,
        seen if later else writer,
        news.at if ahead or bigger else observed,
        files,
        file_bytes,
        version,
    )


def time_of(seconds: float) -> datetime:
    """Return a reported time; the last one that there is for what no database stores."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # 1e11 is a valid number and no year that a database stores
        return datetime.max.replace(tzinfo=UTC)
