"""Finds the drives that a plan could change, by one database pass over the copies.

In a farm at rest there are none, so that checking a million drives costs seconds and no memory. The
conditions are a superset of those of `placement.plan`: any other drive has as many copies as it must, on
workers that count, and no reason to move (a test compares), unless `beyond_minimum` finds it. Drives with a
wrong under-replicated mark are found, too.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.db import connection

from seederfarm.placement.model import WorkerStatus
from seederfarm.registry.sql import rows_as_table

from .liveness import WorkerRow, status_of
from .load import CHUNK, pins

_WORKERS: Final = (("id", "bigint"), ("counts", "bigint"), ("leaves", "bigint"), ("takes", "bigint"))

_QUERY: Final = """
WITH v AS (SELECT * FROM {workers}),
held AS (
  SELECT r.drive_id, sum(coalesce(v.counts, 0)) AS counted, max(coalesce(v.leaves, 1)) AS leaves,
    sum(CASE WHEN r.proven THEN 1 ELSE 0 END) AS complete
  FROM registry_replica r LEFT JOIN v ON v.id = r.worker_id
  WHERE r.desired GROUP BY r.drive_id
),
pins AS (
  SELECT DISTINCT p.drive_id FROM {pins} p JOIN v ON v.id = p.worker_id AND v.takes = 1
  WHERE NOT EXISTS (SELECT 1 FROM registry_replica r
    WHERE r.drive_id = p.drive_id AND r.worker_id = p.worker_id AND r.desired)
)
SELECT d.id FROM registry_drive d
LEFT JOIN held ON held.drive_id = d.id LEFT JOIN pins ON pins.drive_id = d.id
WHERE (d.state = 'removing' AND held.drive_id IS NOT NULL)
  OR (d.state = 'active' AND (
    coalesce(held.counted, 0) < d.replicas_min OR held.counted > d.replicas_max OR held.leaves = 1
    OR pins.drive_id IS NOT NULL OR d.under_replicated <> (coalesce(held.complete, 0) < d.replicas_min)))
ORDER BY d.priority, d.id
"""


def drives_to_plan(seen: Sequence[WorkerRow], now: datetime) -> array[int]:
    """Primary keys, in planning order. `seen`: all admitted workers."""
    statuses = [(worker.id, status_of(worker, now)) for worker in seen]
    rows = [
        (
            pk,
            int(status in (WorkerStatus.ACTIVE, WorkerStatus.SILENT)),
            int(status in (WorkerStatus.DRAINING, WorkerStatus.RETIRED)),
            int(status is WorkerStatus.ACTIVE),
        )
        for pk, status in statuses
    ]
    table, parameters = rows_as_table(_WORKERS, rows)
    pinned, values = pins()
    found = array("q")
    with connection.chunked_cursor() as cursor:
        cursor.execute(_QUERY.format(workers=table, pins=pinned), [*parameters, *values])
        while rows_found := cursor.fetchmany(CHUNK):
            found.extend(row[0] for row in rows_found)
    return found
