"""Reconciles desired and actual replicas: load, plan, apply, notify workers.

Drives that need planning are marked (`Drive.dirty`) and planned at once. All drives are checked periodically,
in case a mark was missed: `drives_to_plan` finds those that a plan must change, `drives_with_room` some that
may get copies beyond their minimum. Two reconcilers never run at the same time.

Drives are planned by priority, some at a time, and each part is written while the next is planned: memory is
bounded, and a killed reconciler leaves a consistent registry. Each batch of moves, with the versions of the
assignments and its events, is one transaction. The next run sees that a run did not finish
(`PlanState.unfinished`), and checks all drives.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from time import monotonic
from typing import Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from seederfarm.placement.model import Assign, Plan, Release, Unplaced
from seederfarm.placement.plan import plan
from seederfarm.registry.models import Drive, Event, PlanState, Worker
from seederfarm.registry.services.drives import finish_removals
from seederfarm.registry.sql import batches, execute, rows_as_table

from ..db.locks import try_lock
from ..messaging import assignments, outbox
from ..messaging.task_names import ControlTask
from . import apply, events, liveness, load
from .background import BackgroundWriter
from .beyond_minimum import ROUNDS, Rounds, drives_with_room
from .candidates import drives_to_plan

log = logging.getLogger(__name__)

LOCK: Final = "reconcile"
PLANNED_AT_ONCE: Final = 100_000
"""Drives planned at a time, while as many are being written: about 300 MB with three copies each."""
WRITE_BATCH: Final = 50_000
"""Moves written in one transaction."""
DIRTY_BATCH: Final = 200_000
"""Drives in one incremental plan."""
UNMARKED_AT_ONCE: Final = 10_000
"""Drives unmarked in one transaction: reports about them wait in the meantime."""
MAX_MOVE_EVENTS: Final = 2000
"""Moves of a plan that get an event each; a larger plan gets a summary."""
KEPT_MOVES: Final = 10_000
"""Moves of each kind that the result of a plan lists; it counts all."""
LONGEST_PAUSE: Final = 3600.0
"""Seconds after which all drives are checked again, however long a check takes."""


@dataclass(slots=True)
class ReconcileResult:
    """The moves of a plan; they are carried out unless it is a dry run."""

    busy: bool = False
    """Whether another reconciler was running, so that nothing was done."""
    applied: bool = False
    drives: int = 0
    """Number of planned drives."""
    left_out: int = 0
    """Number of drives that a dry run did not plan."""
    assigned: int = 0
    released: int = 0
    bytes: int = 0
    """Bytes to download, as far as sizes are known."""
    assign: list[Assign] = field(default_factory=list)
    """The first of each kind: `keep` of them in a dry run, else KEPT_MOVES."""
    release: list[Release] = field(default_factory=list)
    unplaced: list[Unplaced] = field(default_factory=list)
    short: int = 0
    """How often a drive found no worker: the length of `unplaced` if it listed all."""
    seconds: float = 0.0
    find_seconds: float = 0.0
    load_seconds: float = 0.0
    plan_seconds: float = 0.0

    @property
    def moves(self) -> int:
        """Number of copies assigned and released."""
        return self.assigned + self.released

    def record(self, decided: Plan, *, limit: int) -> None:
        """Add a plan. Of each kind of move, at most `limit` are kept; all are counted."""
        self.assigned += len(decided.assign)
        self.released += len(decided.release)
        self.short += len(decided.unplaced)
        self.bytes += decided.bytes
        for mine, more in (
            (self.assign, decided.assign),
            (self.release, decided.release),
            (self.unplaced, decided.unplaced),
        ):
            mine.extend(more[: limit - len(mine)])  # type: ignore[arg-type]


def reconcile(
    *,
    everything: bool = True,
    dry_run: bool = False,
    keep: int = KEPT_MOVES,
    max_drives: int | None = None,
    now: datetime | None = None,
    outages: liveness.OutageDetector = liveness.OUTAGES,
) -> ReconcileResult:
    """Plan all drives, or only the marked ones; `dry_run` changes nothing. The result of a dry run lists
    `keep` moves of each kind; it plans `max_drives` drives (None: all).

    Safe to run at any time, twice, and to be killed: moves that were not written are planned again.
    """
    now = now or timezone.now()
    if dry_run:
        seen = liveness.workers()
        found = _all_to_plan(seen, now, Rounds(ROUNDS.after)) if everything else _dirty()
        result = _run(seen, found[:max_drives], now, dry_run=True, keep=keep)
        result.left_out = max(0, len(found) - (len(found) if max_drives is None else max_drives))
        return result
    with try_lock(LOCK) as alone:
        if not alone:
            return ReconcileResult(busy=True)
        unfinished = PlanState.load().unfinished
        return _everything(now, outages) if everything or unfinished else _marked(now, outages)


# --- by the clock


def sweep(
    now: datetime | None = None,
    outages: liveness.OutageDetector = liveness.OUTAGES,
    *,
    requested: bool = False,
) -> ReconcileResult:
    """Check all drives if due: SEEDERFARM_RECONCILE_EVERY has passed, or a sweep was requested (`requested`
    stores the request), and checking takes no more than SEEDERFARM_RECONCILE_DUTY of the time."""
    now = now or timezone.now()
    if requested:
        PlanState.request_sweep()
    with try_lock(LOCK) as alone:
        if not alone:
            return ReconcileResult(busy=True)
        return _everything(now, outages) if _is_due(PlanState.load(), now) else ReconcileResult()


def _is_due(state: PlanState, now: datetime) -> bool:
    if state.unfinished or state.swept_at is None or state.swept_at > now:  # > now: a clock was set back
        return True
    pause = pause_after(state.swept_seconds)
    if not state.sweep_requested:
        pause = max(pause, settings.FARM.reconcile_every)
    return now >= state.swept_at + timedelta(seconds=pause)


def pause_after(seconds: float) -> float:
    """Seconds to wait after a check that took `seconds`."""
    duty = settings.FARM.reconcile_duty / 100
    return min(seconds * (1 / duty - 1), LONGEST_PAUSE)


# --- the two kinds of runs, under the lock


def _everything(now: datetime, outages: liveness.OutageDetector) -> ReconcileResult:
    start = monotonic()
    row = PlanState.objects.filter(pk=PlanState.ONLY)
    row.update(unfinished=True, sweep_requested=False)  # a later request is for the next run
    seen = liveness.check(now, outages)
    while _unmark_next():
        pass
    found = _all_to_plan(seen, now, ROUNDS)
    result = _run(seen, found, now, dry_run=False, checked_all=True, find_seconds=monotonic() - start)
    finish_removals()
    took = monotonic() - start
    # Only the check counts, not the moves: there will be fewer the next time.
    cost = result.find_seconds if result.moves else took
    row.update(unfinished=False, swept_at=now + timedelta(seconds=took), swept_seconds=cost)
    return result


def _all_to_plan(seen: Sequence[liveness.WorkerRow], now: datetime, rounds: Rounds) -> array[int]:
    """What must be planned first."""
    found = drives_to_plan(seen, now)
    more = dict.fromkeys(drives_with_room(seen, now, rounds))
    for pk in found if more else ():
        more.pop(pk, None)
    found.extend(more)
    return found


def _marked(now: datetime, outages: liveness.OutageDetector) -> ReconcileResult:
    seen = liveness.check(now, outages)
    dirty = _dirty()
    if not dirty:
        return ReconcileResult(applied=True)
    row = PlanState.objects.filter(pk=PlanState.ONLY)
    row.update(unfinished=True)
    _unmark(dirty)  # before they are read: later changes mark them again
    result = _run(seen, dirty, now, dry_run=False)
    finish_removals()
    row.update(unfinished=False)
    return result


def _dirty() -> list[int]:
    """Marked drives, in order of placement priority."""
    rows = Drive.objects.filter(dirty=True).order_by("pk").values_list("priority", "pk")[:DIRTY_BATCH]
    return [pk for _, pk in sorted(rows)]


def _unmark(ids: Sequence[int]) -> None:
    for batch in batches(ids, UNMARKED_AT_ONCE):
        table, parameters = rows_as_table((("id", "bigint"),), [(pk,) for pk in batch])
        execute(f"UPDATE registry_drive AS d SET dirty = false FROM {table} WHERE d.id = v.id", parameters)


def _unmark_next() -> int:
    some = "SELECT id FROM registry_drive WHERE dirty ORDER BY id LIMIT %s"
    return execute(f"UPDATE registry_drive SET dirty = false WHERE id IN ({some})", [UNMARKED_AT_ONCE])


def _run(
    seen: Sequence[liveness.WorkerRow],
    ids: Sequence[int],
    now: datetime,
    *,
    dry_run: bool,
    keep: int = KEPT_MOVES,
    checked_all: bool = False,
    find_seconds: float = 0.0,
) -> ReconcileResult:
    """Plan the drives `ids`, in this order."""
    start = monotonic()
    result = ReconcileResult(applied=not dry_run, find_seconds=find_seconds)
    workers = load.workers(seen, now)
    writer = _Writer({worker.id: worker.name for worker in seen}, now)
    with BackgroundWriter(len(ids) > PLANNED_AT_ONCE) as behind_us:
        for part in batches(ids, PLANNED_AT_ONCE):
            began = monotonic()
            state = load.load(part)
            loaded = monotonic()
            decided = plan(state.drives, workers, state.replicas)
            result.load_seconds += loaded - began
            result.plan_seconds += monotonic() - loaded
            result.drives += len(state.drives)
            result.record(decided, limit=keep)
            unmarked, marked = state.flag_mismatches()
            del state
            if not dry_run:
                behind_us.do(partial(writer.write, decided, unmarked, marked))
            workers = load.with_assigned(workers, decided.assign)
    if not dry_run:
        writer.finish(result)
        events.update_unplaced_alerts(result.unplaced, None if checked_all else ids, now)
    result.seconds = monotonic() - start + find_seconds
    return result


class _Writer:
    """Writes the parts of one plan."""

    def __init__(self, names: Mapping[int, str], now: datetime) -> None:
        self._names = names
        self._now = now
        self._retired = set(Worker.objects.filter(state=Worker.State.RETIRED).values_list("pk", flat=True))
        self._touched: set[int] = set()
        self._recorded = 0

    def write(self, decided: Plan, under: Sequence[int], enough: Sequence[int]) -> None:
        """`under`, `enough`: drives to mark as under-replicated, or as not."""
        apply.mark_under_replicated(under, True)
        apply.mark_under_replicated(enough, False)
        each = self._recorded + len(decided.assign) + len(decided.release) <= MAX_MOVE_EVENTS
        if each:
            self._recorded += len(decided.assign) + len(decided.release)
        for assigns in batches(decided.assign, WRITE_BATCH):
            with transaction.atomic():
                apply.assign(assigns, self._now)
                self._bump({move.worker for move in assigns})
                if each:
                    events.record_assigned(assigns, self._names, self._now)
        for releases in chain.from_iterable(
            batches(r, WRITE_BATCH) for r in apply.one_per_drive(decided.release)
        ):
            with transaction.atomic():
                apply.release(releases, self._now)
                self._bump({move.worker for move in releases} - self._retired)
                apply.delete([move for move in releases if move.worker in self._retired])
                if each:
                    events.record_released(releases, self._names, self._now)

    def _bump(self, workers: set[int]) -> None:
        assignments.bump_version(workers, send=False)
        self._touched |= workers

    def finish(self, result: ReconcileResult) -> None:
        """Queue the assignments, once for the whole plan. If this is not reached, heartbeats do it."""
        for worker_id in sorted(self._touched):
            outbox.defer(ControlTask.SEND_ASSIGNMENT, worker_id)
        if result.moves > self._recorded:
            text = f"Planned {result.assigned:,} new copies and {result.released:,} releases"
            Event.objects.create(at=self._now, kind="plan.applied", text=text, data={"bytes": result.bytes})
