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


_OTHERS: Final = """FROM registry_replica o
    JOIN registry_worker w ON w.id = o.worker_id AND w.state = 'active'
    WHERE o.drive_id = r.drive_id AND o.worker_id <> r.worker_id AND o.desired"""
_ENOUGH: Final = """NOT d.health_stale AND d.counted > d.replicas_min
    AND NOT EXISTS (SELECT 1 FROM registry_worker x WHERE x.state = 'draining' AND x.id <> %s)
    AND NOT EXISTS (SELECT 1 FROM registry_replica g WHERE g.drive_id = d.id AND g.unavailable_blocks > 0)"""
"""Whether as many other copies as are needed count, so that none of them has to be read: each is proven of
the newest version, and no other worker that may have one is being drained."""
_QUERY: Final = f"""
WITH r AS MATERIALIZED (
  SELECT r.drive_id, r.worker_id, r.phase, r.fork, r.length, r.have_blocks,
    d.replicas_min AS needed, coalesce(d.byte_length, 0) AS size, {_ENOUGH} AS enough
  FROM registry_replica r JOIN registry_drive d ON d.id = r.drive_id
  WHERE r.worker_id = %s AND r.desired
), s AS MATERIALIZED (
  SELECT r.drive_id, r.worker_id, r.needed, r.size, CASE WHEN r.enough THEN r.needed
    ELSE (SELECT count(*) {_OTHERS} AND w.lost_since IS NULL AND {STANDS_IN}) END AS done
  FROM r
), b AS (
  SELECT r.size, coalesce((SELECT max(o.have_bytes) {_OTHERS} AND o.phase <> 'complete'), 0) AS best
  FROM s AS r WHERE r.done < r.needed
)
SELECT (SELECT count(*) FROM r), (SELECT count(*) FROM b),
  (SELECT coalesce(sum(CASE WHEN b.size > b.best THEN b.size - b.best ELSE 0 END), 0) FROM b)
"""


def drain_progress(worker_id: int) -> DrainProgress:
    """One query for the copies, one for the rates of the workers."""
    with connection.cursor() as cursor:
        cursor.execute(_QUERY, [worker_id, worker_id])
        copies, waiting, left = cursor.fetchone()
    others = Worker.objects.filter(state=Worker.State.ACTIVE, lost_since=None).exclude(pk=worker_id)
    rates = [engine.get("down_per_second", 0.0) for engine in others.values_list("engine", flat=True)]
    return DrainProgress(int(copies), int(waiting), int(left), float(sum(rates)))


def recent_progress(worker_id: int) -> DrainProgress:
    """`drain_progress`, counted once in KEPT seconds: for pages, which people reload."""
    kept = cache.get_or_set(f"drain:{worker_id}", lambda: drain_progress(worker_id), KEPT)
    return cast("DrainProgress", kept)
