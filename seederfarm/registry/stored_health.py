"""Keeps the health of every drive in its row, so that lists of any size are read from an index.

What is stored is what `health_query.health_now` finds. It is computed again
- in the transaction of whatever changes a drive, its copies or its alerts (`refresh`);
- within seconds after changes of very many drives (`mark`, then `refresh_due`);
- when time alone may have changed it: proofs and arrivals age (`refresh_due`);
- slowly for all drives, round after round (`sweep`), in case a change was missed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from . import uptime
from .health import ARRIVING, proofs_since
from .health_query import HealthNow, Stored, health_now
from .health_states import RANK, WORST_FIRST, Health
from .models import Drive, Replica
from .sql import batches, execute, rows_as_table

BATCH: Final = 500
"""Drives of one transaction."""
AT_ONCE: Final = 1000
"""Drives up to which `changed` computes at once; more are marked, and follow within seconds. Ours."""
REFRESHED_AT_ONCE: Final = 20_000
"""Drives that one run of `refresh_due` computes; the next run continues. Ours."""
SWEPT_AT_ONCE: Final = 1000
"""Numbers of drives that one run of `sweep` covers. Ours."""
SWEEP_EVERY: Final = timedelta(seconds=30)

STORED: Final = Stored._fields
"""Columns."""
COLUMNS: Final = (
    ("health", "text"),
    ("health_since", "timestamptz"),
    ("counted", "integer"),
    ("proven_at", "timestamptz"),
    ("arrived_at", "timestamptz"),
    ("health_stale", "boolean"),
)
"""What is written of a drive, and its SQL types."""

log = logging.getLogger(__name__)


def refresh(drives: Iterable[int], now: datetime | None = None) -> int:
    """Compute and store the health of these drives. Returns how many rows changed."""
    now = now or timezone.now()
    done = 0
    for batch in batches(sorted(set(drives)), BATCH):
        with transaction.atomic():
            done += _refresh(batch, now)
    return done


def changed(drives: Iterable[int], now: datetime | None = None) -> None:
    """Update the health of changed drives, in the transaction of the change; very many are only marked."""
    ids = sorted(set(drives))
    if len(ids) <= AT_ONCE:
        refresh(ids, now)
        return
    for batch in batches(ids, BATCH):
        mark(Drive.objects.filter(pk__in=batch))


def changed_on(workers: Iterable[int], now: datetime | None = None) -> None:
    """Call `changed`, after a change of these workers, for the drives that they have copies of."""
    copies = Replica.objects.filter(worker__in=list(workers)).order_by()
    ids = list(copies.values_list("drive_id", flat=True)[: AT_ONCE + 1])
    if len(ids) <= AT_ONCE:
        refresh(ids, now)
    else:
        mark(Drive.objects.filter(pk__in=copies.values("drive")))


def mark(drives: QuerySet[Drive]) -> int:
    """Let `refresh_due` compute these drives at its next run. Returns how many were not marked."""
    return drives.filter(health_stale=False).update(health_stale=True)


def refresh_due(now: datetime | None = None, limit: int = REFRESHED_AT_ONCE) -> int:
    """Compute the drives that are marked, and those of which time may have changed the health. Returns how
    many were computed."""
    now = now or timezone.now()
    due = (
        Q(health_stale=True),
        Q(arrived_at__lte=now - ARRIVING),
        Q(proven_at__lte=proofs_since(now)),
    )
    done = 0
    for which in due:  # one after the other: each has its index
        while done < limit:
            ids = list(Drive.objects.filter(which).order_by().values_list("pk", flat=True)[:BATCH])
            if not ids:
                break
            refresh(ids, now)
            done += len(ids)
    return done


def sweep(now: datetime | None = None) -> int:
    """Compute the next few drives of a round over all of them. Returns how many rows were wrong."""
    now = now or timezone.now()
    last = Drive.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    turn = int(now.timestamp() // SWEEP_EVERY.total_seconds()) % (last // SWEPT_AT_ONCE + 1)
    first = turn * SWEPT_AT_ONCE
    ids = Drive.objects.filter(pk__gte=first, pk__lt=first + SWEPT_AT_ONCE, health_stale=False)
    wrong = refresh(ids.order_by().values_list("pk", flat=True), now)
    if wrong:
        log.info("the stored health of %d drives was out of date", wrong)
    return wrong


def in_health(drives: QuerySet[Drive], health: str) -> QuerySet[Drive]:
    """Return the drives in one state, by the index that lists have."""
    return drives.filter(health_rank=RANK[Health(health)])


def count_by_health(drives: QuerySet[Drive]) -> dict[Health, int]:
    """Number of drives of each health, those without any included. One query."""
    rows = drives.order_by().values_list("health_rank").annotate(n=Count("pk"))
    found = {WORST_FIRST[rank]: number for rank, number in rows}
    return {health: found.get(health, 0) for health in Health}


def changes(
    drives: Iterable[int], now: datetime, newer: Sequence[tuple[int, int | None, int | None]] = ()
) -> dict[int, HealthNow]:
    """Return those of these drives whose stored health is wrong, by id. `newer`: as in `health_now`.

    The caller has locked all; it writes `values_of` each, and calls `record`."""
    found = health_now(sorted(set(drives)), now, newer)
    return {row.id: row for row in found if row.stale or row.now != row.before}


def values_of(change: HealthNow, now: datetime) -> tuple[Any, ...]:
    """Return what is written, in the order of COLUMNS."""
    since = change.since if change.now.health == change.before.health else now
    return (change.now.health.value, since, *change.now[1:], False)


def record(written: Iterable[HealthNow], now: datetime) -> None:
    """Keep the time in the states that ended."""
    uptime.record(
        [
            uptime.Change(row.id, row.before.health, row.since, row.now.health)
            for row in written
            if row.now.health != row.before.health
        ],
        now,
    )


def _refresh(batch: list[int], now: datetime) -> int:
    if connection.features.has_select_for_update:
        # First locked, then computed: two transactions that each change a copy would not see each other's
        here = Drive.objects.filter(pk__in=batch).order_by("pk").select_for_update(no_key=True)
        batch = list(here.values_list("pk", flat=True))
    found = changes(batch, now)
    if found:
        rows = [(pk, *values_of(found[pk], now)) for pk in sorted(found)]
        table, parameters = rows_as_table((("id", "bigint"), *COLUMNS), rows)
        sets = ", ".join(f"{name} = v.{name}" for name, _ in COLUMNS)
        execute(f"UPDATE registry_drive AS d SET {sets} FROM {table} WHERE d.id = v.id", parameters)
        record(found.values(), now)
    return len(found)
