"""Writes the moves of a plan, many in a few statements.

A plan's releases are checked again when written: a copy is released only while enough others are as full in
the database at that moment. The plan compared which blocks they have; here they are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from seederfarm.placement.model import Assign, Release, ReleaseReason
from seederfarm.registry import stored_health
from seederfarm.registry.models import Drive, Replica
from seederfarm.registry.reported import COLUMNS, RESET
from seederfarm.registry.services.copies import STANDS_IN, lock_copies
from seederfarm.registry.sql import batches, execute, rows_as_table, staged

from . import load

_PAIR: Final = (("drive_id", "bigint"), ("worker_id", "bigint"))


def _pairs(moves: Sequence[Assign] | Sequence[Release]) -> list[tuple[int, int]]:
    return [(move.drive, move.worker) for move in moves]


def assign(moves: Sequence[Assign], now: datetime) -> None:
    """Insert rows, and reuse rows of copies that were being removed, as new copies.

    A drive deleted or a worker retired since the plan gets none.
    """
    columns = ", ".join(column.name for column in COLUMNS)
    defaults = ", ".join(column.default for column in COLUMNS)
    reset = ", ".join(f"{column.name} = {column.default}" for column in RESET)
    with staged(_PAIR, _pairs(moves)) as (table, parameters):
        execute(
            f"INSERT INTO registry_replica (drive_id, worker_id, desired, phase, {columns}, proof_failures, "
            "proven_length, proven_fork, created_at) "
            f"SELECT v.drive_id, v.worker_id, true, 'assigned', {defaults}, 0, 0, 0, %s "
            f"FROM {table} JOIN registry_drive d ON d.id = v.drive_id "
            "JOIN registry_worker w ON w.id = v.worker_id WHERE d.state = 'active' AND w.state = 'active' "
            "ON CONFLICT (drive_id, worker_id) DO UPDATE SET desired = true, released_at = NULL, "
            f"phase = 'assigned', {reset}, "
            "completed_at = NULL, last_proven_at = NULL, last_challenged_at = NULL, "
            "proven_length = 0, proven_fork = 0, "
            "created_at = excluded.created_at, last_report_at = excluded.created_at "
            "WHERE NOT registry_replica.desired",
            [now, *parameters],
        )
        execute(
            f"UPDATE registry_drive AS d SET health_stale = true FROM {table} "
            "WHERE d.id = v.drive_id AND NOT d.health_stale AND d.length > 0",  # others are waiting
            parameters,
        )


def one_per_drive(releases: Iterable[Release]) -> Iterator[list[Release]]:
    """Batches with at most one release per drive, so that the guard of each sees the effect of those before
    it."""
    found: list[list[Release]] = []
    turn: dict[int, int] = {}
    for move in releases:
        number = turn.get(move.drive, 0)
        turn[move.drive] = number + 1
        if number == len(found):
            found.append([])
        found[number].append(move)
    yield from found


_GUARDED: Final = {ReleaseReason.SURPLUS, ReleaseReason.DRAINED}
"""Reasons for which a copy is released only while enough others count and are as full."""


def release(moves: Sequence[Release], now: datetime) -> None:
    """Release copies, at most one of each drive. Call it in a transaction."""
    _release([move for move in moves if move.reason not in _GUARDED], now)
    guarded = [move for move in moves if move.reason in _GUARDED]
    lock_copies(move.drive for move in guarded)
    _release(
        guarded,
        now,
        "((r.phase = 'complete' AND r.length = 0) OR "
        "(SELECT count(*) FROM registry_replica o JOIN registry_worker w ON w.id = o.worker_id "
        "WHERE o.drive_id = v.drive_id AND o.worker_id <> v.worker_id AND o.desired "
        f"AND {STANDS_IN} AND w.state = 'active' AND w.lost_since IS NULL) "
        ">= (SELECT d.replicas_min FROM registry_drive d WHERE d.id = v.drive_id))",
    )


def _release(moves: Sequence[Release], now: datetime, guard: str = "true") -> None:
    if not moves:
        return
    with staged(_PAIR, _pairs(moves)) as (table, rows):
        execute(
            f"UPDATE registry_replica AS r SET desired = false, released_at = %s FROM {table} "
            f"WHERE r.drive_id = v.drive_id AND r.worker_id = v.worker_id AND r.desired AND {guard}",
            [now, *rows],
        )
        execute(
            f"UPDATE registry_drive AS d SET health_stale = true FROM {table} "
            "WHERE d.id = v.drive_id AND NOT d.health_stale",
            rows,
        )


def delete(moves: Sequence[Release]) -> None:
    """Delete copies of retired workers: no report will confirm them."""
    by_worker: dict[int, list[int]] = {}
    for move in moves:
        by_worker.setdefault(move.worker, []).append(move.drive)
    for worker_id, drives in by_worker.items():
        for batch in batches(drives, load.ID_BATCH):
            stored_health.mark(Drive.objects.filter(pk__in=batch))
            Replica.objects.filter(worker_id=worker_id, drive_id__in=batch, desired=False).delete()


def mark_under_replicated(drives: Sequence[int], value: bool) -> None:
    """Set or clear the mark of these drives (`Drive.under_replicated`)."""
    for batch in batches(drives, load.ID_BATCH):
        table, parameters = rows_as_table((("id", "bigint"),), [(pk,) for pk in batch])
        execute(
            f"UPDATE registry_drive AS d SET under_replicated = %s FROM {table} WHERE d.id = v.id",
            [value, *parameters],
        )
