"""Finds drives that have their minimum of copies and may get more: there is room, and they are below their
maximum.

Such copies have time. A round checks some drives only, so that neither a farm that never has room for them
nor a new worker makes a round long, and control assigns at most so many of them a round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection

from seederfarm.placement.model import WorkerStatus
from seederfarm.registry.models import Drive
from seederfarm.registry.sql import rows_as_table

from .liveness import WorkerRow, is_expected, status_of
from .load import UNKNOWN_SIZE

CHECKED_AT_ONCE: Final = 5000
"""Drives that a round checks. Ours: a hundred thousand in twenty rounds, and a query of some 50 ms."""

_WORKERS: Final = (("id", "bigint"), ("counts", "bigint"), ("keeps", "bigint"), ("takes", "bigint"))

_QUERY: Final = """
WITH v AS (SELECT * FROM {workers})
SELECT d.id FROM registry_drive d
LEFT JOIN registry_replica r ON r.drive_id = d.id AND r.desired LEFT JOIN v ON v.id = r.worker_id
WHERE d.id > %s AND d.id <= %s AND d.state = 'active' AND d.replicas_max > d.replicas_min
  AND coalesce(d.byte_length, %s) <= %s
GROUP BY d.id, d.replicas_min, d.replicas_max
HAVING coalesce(sum(v.counts), 0) >= d.replicas_min AND coalesce(sum(v.keeps), 0) < d.replicas_max
  AND coalesce(sum(v.takes), 0) < %s
ORDER BY d.id
"""


@dataclass(slots=True)
class Rounds:
    """Which drives are next."""

    after: int = 0
    """Primary key of the last one that was checked."""


ROUNDS: Final = Rounds()
"""Of the process."""


def drives_with_room(seen: Sequence[WorkerRow], now: datetime, rounds: Rounds) -> list[int]:
    """Primary keys of such drives among the next CHECKED_AT_ONCE; `rounds` goes on to those after them.
    `seen`: all admitted workers. A superset: tags and room that is promised are the plan's."""
    statuses = [(worker, status_of(worker, now)) for worker in seen]
    takers = {w.id for w, status in statuses if status is WorkerStatus.ACTIVE and w.weight > 0}
    if not takers:
        return []
    counting = (WorkerStatus.ACTIVE, WorkerStatus.SILENT)
    rows = [
        (w.id, int(status in counting), int(status in counting or is_expected(w, now)), int(w.id in takers))
        for w, status in statuses
    ]
    first, last = rounds.after, _last_after(rounds.after)
    rounds.after = last or 0
    table, parameters = rows_as_table(_WORKERS, rows)
    roomiest = max(w.free_bytes for w in seen if w.id in takers)
    bounds = [first, last or 2**62, UNKNOWN_SIZE, roomiest, len(takers)]
    with connection.cursor() as cursor:
        cursor.execute(_QUERY.format(workers=table), [*parameters, *bounds])
        return [pk for (pk,) in cursor.fetchall()]


def _last_after(pk: int) -> int | None:
    """Primary key of the last of the next CHECKED_AT_ONCE drives. None: they are the last."""
    rest = Drive.objects.filter(pk__gt=pk).order_by("pk").values_list("pk", flat=True)
    return next(iter(rest[CHECKED_AT_ONCE - 1 : CHECKED_AT_ONCE]), None)
