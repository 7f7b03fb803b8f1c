"""Progress of a drain."""

from __future__ import annotations

from typing import Final, NamedTuple, cast

from django.core.cache import cache
from django.db import connection

from workers import units

from ..models import Worker
from .copies import STANDS_IN

KEPT: Final = 60
"""Seconds that `recent_progress` keeps numbers: counting takes 35 µs of the database for each copy."""


class DrainProgress(NamedTuple):
    """The progress of a worker's drain."""

    copies: int
    """Copies that are on the worker and not released."""
    waiting: int
    """Those of them that too few other workers have as fully, and have proven."""
    bytes_left: int
    """Bytes that others must download before it can go."""
    bytes_per_second: float
    """Current download rate of all other workers."""

    @property
    def eta_seconds(self) -> float | None:
        """None: nothing is being downloaded, so the time is unknown."""
        if self.waiting == 0:
            return 0.0
        return self.bytes_left / self.bytes_per_second if self.bytes_per_second > 0 else None

    def __str__(self) -> str:
        if self.waiting == 0:
            return f"{units.plural(self.copies, 'copy', 'copies')} left, all of them elsewhere, too"
        text = (
            f"{self.waiting:,} of {units.plural(self.copies, 'copy', 'copies')} wait for other workers, "
            f"which have {units.format_size(self.bytes_left)} to download"
        )
        eta = self.eta_seconds
        if eta is None:
            return f"{text} and download nothing now"
        return f"{text}: about {units.format_duration(eta)} at {units.format_rate(self.bytes_per_second)}"


_QUERY = f"""
SELECT count(*),
  coalesce(sum(CASE WHEN s.done < s.needed THEN 1 ELSE 0 END), 0),
  coalesce(sum(CASE WHEN s.done < s.needed AND s.size > s.best THEN s.size - s.best ELSE 0 END), 0)
FROM (
  SELECT d.replicas_min AS needed, coalesce(d.byte_length, 0) AS size,
    sum(CASE WHEN w.lost_since IS NULL AND {STANDS_IN} THEN 1 ELSE 0 END) AS done,
    max(CASE WHEN o.phase <> 'complete' THEN o.have_bytes ELSE 0 END) AS best
  FROM registry_replica r JOIN registry_drive d ON d.id = r.drive_id
  LEFT JOIN (registry_replica o JOIN registry_worker w ON w.id = o.worker_id AND w.state = 'active')
    ON o.drive_id = r.drive_id AND o.worker_id <> r.worker_id AND o.desired
  WHERE r.worker_id = %s AND r.desired
  GROUP BY r.id, d.replicas_min, d.byte_length
) s
"""


def drain_progress(worker_id: int) -> DrainProgress:
    """One query for the copies, one for the rates of the workers."""
    with connection.cursor() as cursor:
        cursor.execute(_QUERY, [worker_id])
        copies, waiting, left = cursor.fetchone()
    others = Worker.objects.filter(state=Worker.State.ACTIVE, lost_since=None).exclude(pk=worker_id)
    rates = [engine.get("down_per_second", 0.0) for engine in others.values_list("engine", flat=True)]
    return DrainProgress(int(copies), int(waiting), int(left), float(sum(rates)))


def recent_progress(worker_id: int) -> DrainProgress:
    """`drain_progress`, counted once in KEPT seconds: for pages, which people reload."""
    kept = cache.get_or_set(f"drain:{worker_id}", lambda: drain_progress(worker_id), KEPT)
    return cast("DrainProgress", kept)
