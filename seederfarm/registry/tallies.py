"""Numbers of copies of each worker: counted by control now and then, read by pages.

Counting takes one pass over all copies, a second for three million.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

from django.db import transaction
from django.db.models import Count, Q

from .models import Replica, Worker, WorkerTally

PROVEN_WITHIN: Final = timedelta(days=1)
TOO_OLD: Final = timedelta(minutes=10)
"""Age at which a tally is no longer shown: control does not count any more, so the reader counts. Ours."""

W = TypeVar("W", bound=Worker)


class Tally(NamedTuple):
    """Counts of a worker's copies."""

    copies: int
    """Copies that a worker should have."""
    complete: int
    proven: int
    """Complete, and proven within a day."""


NONE: Final = Tally(0, 0, 0)


def count(now: datetime) -> dict[int, Tally]:
    """Count the copies of each worker, by primary key. One query, over all copies."""
    complete = Q(phase=Replica.Phase.COMPLETE)
    rows = (
        Replica.objects.filter(desired=True)
        .order_by()
        .values_list("worker_id")
        .annotate(
            n=Count("pk"),
            complete=Count("pk", filter=complete),
            proven=Count("pk", filter=complete & Q(last_proven_at__gt=now - PROVEN_WITHIN)),
        )
    )
    return {worker: Tally(*numbers) for worker, *numbers in rows}


def recount(now: datetime) -> None:
    """Count, and keep the numbers for pages."""
    with transaction.atomic():
        found = count(now)
        WorkerTally.objects.bulk_create(
            [
                WorkerTally(worker_id=pk, at=now, **found.get(pk, NONE)._asdict())
                for pk in Worker.objects.order_by("pk").values_list("pk", flat=True)
            ],
            update_conflicts=True,
            unique_fields=["worker"],
            update_fields=["copies", "complete", "proven", "at"],
            batch_size=500,
        )


def tallies(now: datetime) -> dict[int, Tally]:
    """Return the kept numbers; count now if control has not counted lately. A worker without copies may be
    missing."""
    rows = list(WorkerTally.objects.values_list("worker_id", "copies", "complete", "proven", "at"))
    if any(now - at < TOO_OLD for *_, at in rows):
        return {worker: Tally(*numbers) for worker, *numbers, _ in rows}
    return count(now)


def with_tallies(workers: Iterable[W], found: dict[int, Tally]) -> list[Any]:
    """The workers with `copies` and `complete`."""
    every: list[Any] = list(workers)
    for worker in every:
        worker.copies, worker.complete, _ = found.get(worker.pk, NONE)
    return every
