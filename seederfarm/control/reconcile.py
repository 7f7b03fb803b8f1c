"""From what is to what shall be: load, plan, write, tell the workers.

Two reconcilers never work at the same time. What a plan decides is checked again where it is written: a copy
is released only while enough others are complete in the database at that moment.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from time import monotonic
from typing import Final, NamedTuple

from django.db import transaction
from django.utils import timezone

from seederfarm.placement.model import Assign, Plan, Release, ReleaseReason, Unplaced
from seederfarm.placement.plan import plan
from seederfarm.registry.models import Drive, Event, Replica, Worker
from seederfarm.registry.models.history import Severity
from seederfarm.registry.services.drives import finish_removals

from . import alerts, manifests, outbox, planning, standing
from .locks import only_one
from .sql import batches, execute, rows_as_table

log = logging.getLogger(__name__)

LOCK: Final = "reconcile"
WRITE_BATCH: Final = 20_000
"""Moves written in one transaction."""
DIRTY_BATCH: Final = 200_000
"""Drives that one incremental plan takes on."""
TOLD_MOVES: Final = 2000
"""Moves of a plan that get an event each; of a larger one there is a summary."""


class Reconciled(NamedTuple):
    """What a plan decided and, unless it was a dry run, did."""

    busy: bool
    """Somebody else was planning: nothing was done."""
    applied: bool
    drives: int
    assign: list[Assign]
    release: list[Release]
    unplaced: list[Unplaced]
    seconds: float = 0.0
    load_seconds: float = 0.0
    plan_seconds: float = 0.0

    @property
    def bytes(self) -> int:
        """What will be downloaded for it, as far as sizes are known."""
        return sum(move.bytes for move in self.assign)


_BUSY: Final = Reconciled(True, False, 0, [], [], [])


def reconcile(
    *,
    everything: bool = True,
    dry_run: bool = False,
    now: datetime | None = None,
    hearing: standing.Hearing = standing.HEARING,
) -> Reconciled:
    """Plan all drives, or only those that something happened to; `dry_run` changes nothing.

    Safe to run at any time, twice, and to be killed in: what was not written is planned again.
    """
    now = now or timezone.now()
    if dry_run:
        return _run(standing.workers(), None if everything else _dirty(claim=False), now, dry_run=True)
    with only_one(LOCK) as alone:
        if not alone:
            return _BUSY
        seen = standing.check(now, hearing)
        dirty = _dirty(claim=True)
        if not everything and not dirty:
            return Reconciled(False, True, 0, [], [], [])
        try:
            result = _run(seen, None if everything else dirty, now, dry_run=False)
        except BaseException:
            _mark(dirty)
            raise
        finish_removals()
        return result


def _dirty(*, claim: bool) -> list[int]:
    """Drives that something happened to. Claimed before they are read: what happens later marks them
    again."""
    rows = Drive.objects.filter(dirty=True).order_by("pk")
    ids = list(rows.values_list("pk", flat=True)[:DIRTY_BATCH])
    if claim:
        for batch in batches(ids, planning.ID_BATCH):
            Drive.objects.filter(pk__in=batch).update(dirty=False)
    return ids


def _mark(ids: Iterable[int]) -> None:
    for batch in batches(ids, planning.ID_BATCH):
        Drive.objects.filter(pk__in=batch).update(dirty=True)


def _run(
    seen: Sequence[standing.Seen], ids: Sequence[int] | None, now: datetime, *, dry_run: bool
) -> Reconciled:
    start = monotonic()
    state = planning.load(seen, now, ids)
    loaded = monotonic()
    decided = plan(state.drives, state.workers, state.replicas)
    planned = monotonic()
    count = len(state.drives)
    unplaced = decided.unplaced
    known = [drive.id for drive in state.drives] if not dry_run else []
    del state
    if not dry_run:
        names = {worker.id: worker.name for worker in seen}
        _write(decided, names, now)
        _tell_unplaced(unplaced, known if ids is not None else None, now)
    return Reconciled(
        False,
        not dry_run,
        count,
        decided.assign,
        decided.release,
        unplaced,
        monotonic() - start,
        loaded - start,
        planned - loaded,
    )


# --- writing


def _write(decided: Plan, names: dict[int, str], now: datetime) -> None:
    told = len(decided.assign) + len(decided.release) <= TOLD_MOVES
    retired = set(Worker.objects.filter(state=Worker.State.RETIRED).values_list("pk", flat=True))
    touched: set[int] = set()
    for assigns in batches(decided.assign, WRITE_BATCH):
        with transaction.atomic():
            _assign(assigns, now)
            manifests.bump({move.worker for move in assigns}, tell=False)
            if told:
                _record_assigned(assigns, names, now)
        touched.update(move.worker for move in assigns)
    for releases in chain.from_iterable(batches(r, WRITE_BATCH) for r in _rounds(decided.release)):
        with transaction.atomic():
            _release(releases, now)
            manifests.bump({move.worker for move in releases} - retired, tell=False)
            gone = [move for move in releases if move.worker in retired]
            if gone:
                _delete(gone)
            if told:
                _record_released(releases, names, now)
        touched.update(move.worker for move in releases)
    for worker_id in sorted(touched - retired):
        outbox.defer("control.send_manifest", worker_id)
    if not told:
        text = f"Planned {len(decided.assign):,} new copies and {len(decided.release):,} releases"
        Event.objects.create(at=now, kind="plan.applied", text=text, data={"bytes": decided.bytes})


_PAIR: Final = (("drive_id", "bigint"), ("worker_id", "bigint"))


def _pairs(moves: Sequence[Assign] | Sequence[Release]) -> tuple[str, list[object]]:
    return rows_as_table(_PAIR, [(move.drive, move.worker) for move in moves])


def _assign(moves: list[Assign], now: datetime) -> None:
    """New rows, and rows of copies that were being removed: what they had does not count any more.

    A drive that was deleted, or a worker that was retired, meanwhile gets none.
    """
    table, parameters = _pairs(moves)
    execute(
        "INSERT INTO registry_replica (drive_id, worker_id, desired, phase, length, fork, have_blocks, "
        "total_blocks, have_bytes, total_bytes, peers, error, attempts, proof_failures, created_at) "
        "SELECT v.drive_id, v.worker_id, true, 'assigned', 0, 0, 0, 0, 0, 0, 0, '', 0, 0, %s "
        f"FROM {table} JOIN registry_drive d ON d.id = v.drive_id "
        "JOIN registry_worker w ON w.id = v.worker_id WHERE d.state = 'active' AND w.state = 'active' "
        "ON CONFLICT (drive_id, worker_id) DO UPDATE SET desired = true, released_at = NULL, "
        "phase = 'assigned', have_blocks = 0, have_bytes = 0, error = '', attempts = 0, "
        "completed_at = NULL, created_at = excluded.created_at, last_report_at = excluded.created_at "
        "WHERE NOT registry_replica.desired",
        [now, *parameters],
    )


def _rounds(releases: Iterable[Release]) -> Iterator[list[Release]]:
    """At most one of a drive at a time, so that the guard of each sees what those before it left."""
    rounds: list[list[Release]] = []
    turn: dict[int, int] = {}
    for move in releases:
        number = turn.get(move.drive, 0)
        turn[move.drive] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(move)
    yield from rounds


_GUARDED: Final = {ReleaseReason.SURPLUS, ReleaseReason.DRAINED}
"""Reasons for which a copy goes only while others are complete."""


def _release(moves: list[Release], now: datetime) -> None:
    guarded = [move for move in moves if move.reason in _GUARDED]
    free = [move for move in moves if move.reason not in _GUARDED]
    if free:
        table, parameters = _pairs(free)
        execute(
            f"UPDATE registry_replica AS r SET desired = false, released_at = %s FROM {table} "
            "WHERE r.drive_id = v.drive_id AND r.worker_id = v.worker_id AND r.desired",
            [now, *parameters],
        )
    if guarded:
        table, parameters = _pairs(guarded)
        execute(
            f"UPDATE registry_replica AS r SET desired = false, released_at = %s FROM {table} "
            "WHERE r.drive_id = v.drive_id AND r.worker_id = v.worker_id AND r.desired AND "
            "(SELECT count(*) FROM registry_replica o JOIN registry_worker w ON w.id = o.worker_id "
            "WHERE o.drive_id = v.drive_id AND o.worker_id <> v.worker_id AND o.desired "
            "AND o.phase = 'complete' AND o.proof_failures < %s AND w.state = 'active' "
            "AND w.lost_since IS NULL) >= (SELECT d.replicas_min FROM registry_drive d "
            "WHERE d.id = v.drive_id)",
            [now, *parameters, planning.DISTRUST_AFTER],
        )


def _delete(moves: list[Release]) -> None:
    """Of retired workers: nobody will confirm."""
    by_worker: dict[int, list[int]] = {}
    for move in moves:
        by_worker.setdefault(move.worker, []).append(move.drive)
    for worker_id, drives in by_worker.items():
        for batch in batches(drives, planning.ID_BATCH):
            Replica.objects.filter(worker_id=worker_id, drive_id__in=batch, desired=False).delete()


# --- telling


def _names(ids: set[int]) -> dict[int, tuple[str, str]]:
    """What drives are called, and their keys."""
    found: dict[int, tuple[str, str]] = {}
    for batch in batches(sorted(ids), 1000):
        rows = Drive.objects.filter(pk__in=batch).values_list("pk", "label", "title", "key")
        found.update((pk, (label or title or f"{key[:10]}…", key)) for pk, label, title, key in rows)
    return found


def _record_assigned(moves: list[Assign], names: dict[int, str], now: datetime) -> None:
    drives = _names({move.drive for move in moves})
    Event.objects.bulk_create(
        [
            Event(
                at=now,
                kind="replica.assigned",
                drive_id=move.drive,
                worker_id=move.worker,
                text=f"{names[move.worker]} is to keep a copy of {drives[move.drive][0]}"[:500],
                data={"key": drives[move.drive][1], "bytes": move.bytes},
            )
            for move in moves
            if move.drive in drives
        ]
    )


def _record_released(moves: list[Release], names: dict[int, str], now: datetime) -> None:
    drives = _names({move.drive for move in moves})
    Event.objects.bulk_create(
        [
            Event(
                at=now,
                kind="replica.released",
                drive_id=move.drive,
                worker_id=move.worker if move.worker in names else None,
                text=f"{names.get(move.worker, 'A worker')} lets go of its copy of "
                f"{drives[move.drive][0]}: {move.reason}"[:500],
                data={"key": drives[move.drive][1], "reason": move.reason.name.lower()},
            )
            for move in moves
            if move.drive in drives
        ]
    )


def _tell_unplaced(unplaced: list[Unplaced], looked_at: list[int] | None, now: datetime) -> None:
    """Alerts of drives that could not be placed, an event when one is new; the others are resolved.

    `looked_at` are the drives of the plan, None for all.
    """
    short = {item.drive: item for item in unplaced[:TOLD_MOVES]}
    drives = _names(set(short))
    troubles = [
        alerts.Trouble(
            kind="drive.unplaced",
            subject=f"drive.unplaced:{pk}",
            text=f"{drives[pk][0]} {item.why}",
            hint="Add a worker or room, or ask for fewer copies.",
            drive_id=pk,
        )
        for pk, item in short.items()
        if pk in drives
    ]
    with transaction.atomic():
        new = alerts.raise_alerts(troubles, now)
        Event.objects.bulk_create(
            [
                Event(
                    at=now,
                    kind="drive.unplaced",
                    severity=Severity.WARNING,
                    drive_id=trouble.drive_id,
                    text=trouble.text[:500],
                    data={"key": drives[trouble.drive_id][1], "missing": short[trouble.drive_id].missing},
                )
                for trouble in new
                if trouble.drive_id is not None
            ]
        )
        alerts.resolve_others("drive.unplaced", set(short), looked_at, now)
