"""Counters of workers as a time series: summed per minute on arrival, coarser as they age."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from farmwire.report import Sample as ReportedSample
from seederfarm.registry.models import Sample
from seederfarm.registry.sql import execute, rows_as_table


class Step(NamedTuple):
    """A span of samples in seconds, and how long such samples are kept."""

    span: int
    keep: float | None
    """Seconds. None: SEEDERFARM_KEEP_SAMPLES."""


STEPS: Final = (Step(60, 2 * 86400.0), Step(900, 14 * 86400.0), Step(21600, None))
"""Minutes for two days, quarters of an hour for two weeks, then quarters of a day."""

AT_ONCE: Final = 3600
"""Seconds of samples merged in one transaction: of a thousand workers, 420,000 samples."""
DAY: Final = 86400

MAX_BACKLOG: Final = timedelta(days=30)
"""Largest age of a sample: a worker sends older ones after it was disconnected."""

DRIVE_DAYS: Final = 30
"""Days for which the bytes that a drive was served are kept."""
SERVED: Final = "bytes_up"
"""Name of that number in the table; one row a day (UTC)."""

METRICS: Final = (
    ("bytes_down", "bytes_in"),
    ("bytes_up", "bytes_out"),
    ("cpu", "cpu_percent"),
    ("memory_used", "memory_used_bytes"),
    ("disk_free", "disk_free_bytes"),
    ("stored_bytes", "stored_bytes"),
    ("peers", "peers"),
)
"""Name in the table, and field of farmwire.report.Sample. Of the first two, the total matters."""

_COLUMNS: Final = (
    ("metric", "text"),
    ("at", "timestamptz"),
    ("count", "bigint"),
    ("total", "double precision"),
    ("minimum", "double precision"),
    ("maximum", "double precision"),
)

_MERGE: Final = (
    "ON CONFLICT (scope, subject, metric, span, at) DO UPDATE SET "
    "count = registry_sample.count + excluded.count, total = registry_sample.total + excluded.total, "
    "minimum = CASE WHEN excluded.minimum < registry_sample.minimum THEN excluded.minimum "
    "ELSE registry_sample.minimum END, "
    "maximum = CASE WHEN excluded.maximum > registry_sample.maximum THEN excluded.maximum "
    "ELSE registry_sample.maximum END"
)


def record(worker_id: int, reported: Sequence[ReportedSample], now: datetime) -> None:
    """Add a worker's samples to its minutes. The caller ensures that a report counts once."""
    span = STEPS[0].span
    sums: dict[tuple[str, datetime], list[float]] = {}
    for sample in reported:
        start = sample.start - sample.start % span
        if not (now - MAX_BACKLOG).timestamp() <= sample.start <= now.timestamp() + 300:
            continue  # a clock that jumped: such a minute would stay in the charts for ever
        at = datetime.fromtimestamp(start, UTC)
        for metric, field in METRICS:
            value = float(getattr(sample, field))
            found = sums.setdefault((metric, at), [0, 0.0, value, value])
            found[0] += 1
            found[1] += value
            found[2] = min(found[2], value)
            found[3] = max(found[3], value)
    if not sums:
        return
    rows = [(metric, at, int(n), *values) for (metric, at), (n, *values) in sums.items()]
    table, parameters = rows_as_table(_COLUMNS, sorted(rows))
    execute(
        "INSERT INTO registry_sample (scope, subject, metric, span, at, count, total, minimum, maximum) "
        f"SELECT 'worker', %s, v.metric, %s, v.at, v.count, v.total, v.minimum, v.maximum FROM {table} "
        f"WHERE true {_MERGE}",
        [worker_id, span, *parameters],
    )


def record_served(rows: Sequence[tuple[int, int]], now: datetime) -> None:
    """Add bytes to this day of drives: (primary key, bytes). One statement."""
    table, parameters = rows_as_table((("drive", "bigint"), ("bytes", "double precision")), rows)
    execute(
        "INSERT INTO registry_sample (scope, subject, metric, span, at, count, total, minimum, maximum) "
        f"SELECT 'drive', v.drive, %s, %s, %s, 1, v.bytes, v.bytes, v.bytes FROM {table} "
        f"WHERE true {_MERGE}",
        [SERVED, DAY, _floor(now, DAY), *parameters],
    )


def roll_up(now: datetime | None = None) -> int:
    """Merge samples that are old for their span into the next coarser one, and delete the oldest.

    A sample and its replacement are swapped in one transaction: each measurement is in the table once. A
    transaction covers AT_ONCE, or one coarser span, however much there is to do. Returns how many samples
    were removed.
    """
    now = now or timezone.now()
    gone = 0
    for step, coarser in pairwise(STEPS):
        assert step.keep is not None
        limit = _floor(now - timedelta(seconds=step.keep), coarser.span)
        for end in _stretches(step.span, limit, max(coarser.span, AT_ONCE)):
            gone += _merge(step.span, coarser.span, end)
    oldest = now - timedelta(seconds=settings.FARM.keep_samples)
    for end in _stretches(STEPS[-1].span, oldest, DAY):
        gone += _before(STEPS[-1].span, end).delete()[0]
    for end in _stretches(DAY, _floor(now, DAY) - timedelta(days=DRIVE_DAYS), DAY):
        gone += _before(DAY, end).delete()[0]
    return gone


def _stretches(span: int, limit: datetime, length: int) -> Iterator[datetime]:
    """The ends of intervals that hold all samples of `span` before `limit`, in order."""
    while True:
        first = _before(span, limit).order_by("at").values_list("at", flat=True).first()
        if first is None:
            return
        yield min(limit, _floor(first, length) + timedelta(seconds=length))


def _merge(span: int, coarser: int, end: datetime) -> int:
    with transaction.atomic():
        execute(
            "INSERT INTO registry_sample (scope, subject, metric, span, at, count, total, minimum, maximum) "
            f"SELECT scope, subject, metric, %s, {_bucket()}, sum(count), sum(total), min(minimum), "
            "max(maximum) FROM registry_sample WHERE span = %s AND at < %s "
            f"GROUP BY scope, subject, metric, {_bucket()} {_MERGE}",
            [coarser, *_spans(coarser), span, end, *_spans(coarser)],
        )
        return int(_before(span, end).delete()[0])


def _before(span: int, end: datetime) -> QuerySet[Sample]:
    return Sample.objects.filter(span=span, at__lt=end)


def _floor(at: datetime, span: int) -> datetime:
    seconds = int(at.timestamp())
    return datetime.fromtimestamp(seconds - seconds % span, UTC)


def _bucket() -> str:
    if connection.vendor == "postgresql":
        return "to_timestamp(floor(extract(epoch from at) / %s) * %s)"
    return "datetime(CAST(strftime('%%s', at) AS INTEGER) / %s * %s, 'unixepoch')"


def _spans(span: int) -> list[int]:
    return [span, span]
