"""Traffic and load of workers in the newest minute that all have reported: the next point of charts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple, cast

from django.core.cache import cache
from django.db.models import Sum

from seederfarm.registry.models import Sample, Worker

from .charts import LATE

MINUTE: Final = 60
METRICS: Final = ("bytes_up", "bytes_down", "cpu", "memory_used")


class Measured(NamedTuple):
    """Bytes a second both ways, percent of the processor, bytes of memory. None: not measured."""

    at: int
    """Beginning of the minute, Unix time."""
    up: float | None = None
    down: float | None = None
    cpu: float | None = None
    memory: float | None = None


class Minute(NamedTuple):
    """Traffic and load of the farm and of each worker in one minute."""

    farm: Measured
    workers: dict[str, Measured]
    """The values of each worker, by its id."""

    def of(self, node_id: str) -> Measured:
        """Return the values of a worker by its id; all are None if none were measured."""
        return self.workers.get(node_id, Measured(self.farm.at))


def newest(now: datetime) -> Minute:
    """Return the newest minute. Two queries a minute."""
    at = (int(now.timestamp()) - LATE) // MINUTE * MINUTE - MINUTE
    return cast(Minute, cache.get_or_set(f"minute:{at}", lambda: _load(at), 2 * MINUTE))


def _load(at: int) -> Minute:
    sums: dict[int, dict[str, float]] = {}
    rows = Sample.objects.filter(
        scope=Sample.Scope.WORKER, metric__in=METRICS, span=MINUTE, at=datetime.fromtimestamp(at, UTC)
    )
    values = rows.order_by().values_list("subject", "metric").annotate(n=Sum("total"), times=Sum("count"))
    for subject, metric, total, times in values:
        of = MINUTE if metric.startswith("bytes_") else max(times, 1)
        sums.setdefault(subject, {})[metric] = total / of
    names = dict(Worker.objects.filter(pk__in=sums).values_list("pk", "node_id"))
    workers = {
        names[pk]: Measured(at, *(found.get(metric) for metric in METRICS))
        for pk, found in sums.items()
        if pk in names
    }
    farm = Measured(
        at,
        *(sum(found.get(metric, 0.0) for found in sums.values()) if sums else None for metric in METRICS[:2]),
    )
    return Minute(farm, workers)
