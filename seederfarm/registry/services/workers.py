"""Actions on workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple

from django.db import models, transaction
from django.db.models import Count
from django.utils import timezone

from .. import signals, stored_health
from ..models import Drive, Replica, Worker
from ..worker_states import STATE_AFTER, WorkerAction, states_before
from .blind_cores import unregister_all
from .copies import below_minimum_without, last_copies_on, lock_copies
from .keys import announce
from .log import Actor, count_of, record_audit, record_event

Workers = models.QuerySet[Worker] | Iterable[Worker]


BLIND_PEER_FIELDS: Final = frozenset(("blind_clients", "blind_trusted", "blind_max_cores", "blind_max_bytes"))
"""What apps may at a worker that is a blind peer."""

NAMED: Final = 5
"""Drives that are named where a worker has the last copies of more."""


class Retirement(NamedTuple):
    """What retiring a worker would take."""

    worker: Worker
    drives: int
    """Drives of which it has blocks that no other worker has."""
    names: tuple[str, ...]
    """The first NAMED of them."""
    below: int
    """Drives that would have fewer copies than their minimum."""

    @property
    def why(self) -> str:
        """Why it should not be retired now, without a full stop. Empty: nothing speaks against it."""
        why = []
        if self.drives:
            why.append(f"it has blocks of {count_of(self.drives, 'drive')} that no other worker has")
        if self.below > self.drives:  # a last copy's drive is below it, too
            have = "has" if self.below == 1 else "have"
            why.append(f"{count_of(self.below, 'drive')} {have} fewer copies than the minimum without it")
        return f"{', and '.join(why)}: drain it first" if why else ""

    @property
    def named(self) -> str:
        """The drives of which it has the last blocks."""
        more = self.drives - len(self.names)
        return ", ".join(self.names) + (f" and {more:,} more" if more > 0 else "")


class RetireResult(NamedTuple):
    """The result of `retire`."""

    retired: int
    guarded: list[Retirement]
    """Those that were kept."""


def activate(workers: Workers, actor: Actor) -> int:
    """Approve a waiting worker, cancel a drain, or readmit a retired worker."""
    return _change(
        workers,
        actor,
        WorkerAction.ACTIVATE,
        "Activated",
        {"draining_since": None, "retired_at": None},
    )


def drain(workers: Workers, actor: Actor) -> int:
    """Drain workers: they get no new copies and serve theirs until others have them."""
    return _change(
        workers,
        actor,
        WorkerAction.DRAIN,
        "Drains",
        {"draining_since": timezone.now(), "retired_at": None},
    )


def retirement_of(worker: Worker) -> Retirement:
    """What retiring it would take. Three queries, and the copies that are compared."""
    alone = last_copies_on(worker)
    names = tuple(str(drive) for drive in Drive.objects.filter(pk__in=alone[:NAMED]).order_by("pk"))
    return Retirement(worker, len(alone), names, below_minimum_without(worker))


def retire(workers: Workers, actor: Actor, *, force: bool = False, confirmed: bool = False) -> RetireResult:
    """End their membership: their messages are rejected and their copies do not count.

    A worker with the fullest copy of a drive, or blocks that no other has, stays unless `force` is set: drain
    it first. So does one without which drives have fewer copies than their minimum, unless `confirmed` or
    `force` is set.
    """
    retired = 0
    guarded: list[Retirement] = []
    for worker in workers:
        with transaction.atomic():
            row = Worker.objects.select_for_update().get(pk=worker.pk)
            if row.state not in states_before(WorkerAction.RETIRE):
                continue
            lock_copies(Replica.objects.filter(worker=row).values_list("drive_id", flat=True))
            if not force:
                found = retirement_of(row)
                if found.drives or (found.below and not confirmed):
                    guarded.append(found)
                    continue
            copies = Replica.objects.filter(worker=row)
            touched = Drive.objects.filter(replicas__worker=row)
            touched.update(dirty=True)
            ids = list(touched.values_list("pk", flat=True))
            count = copies.count()
            copies.delete()
            row.state, row.draining_since = STATE_AFTER[WorkerAction.RETIRE], None
            row.retired_at = timezone.now()
            row.save(update_fields=["state", "retired_at", "draining_since"])
            text = f"Retired {row.name} with {count_of(count, 'copy')}"
            record_audit(
                actor, "worker.retire", text, target=row.node_id, data={"force": force, "copies": count}
            )
            record_event("worker.retired", text, worker=row)
            unregister_all(row, row.retired_at)
            _announce([row.pk])
            announce(ids)
            retired += 1
    return RetireResult(retired, guarded)


def delete_retired(workers: Workers, actor: Actor) -> int:
    """Delete retired workers without copies. Returns how many."""
    with transaction.atomic():
        rows = Worker.objects.filter(pk__in=_ids(workers), state=Worker.State.RETIRED)
        bare = list(rows.annotate(copies=Count("replicas")).filter(copies=0))
        for worker in bare:
            record_audit(
                actor, "worker.delete", f"Deleted the retired worker {worker.name}", target=worker.node_id
            )
        Worker.objects.filter(pk__in=[worker.pk for worker in bare]).delete()
    return len(bare)


def set_paused(workers: Workers, paused: bool, actor: Actor) -> int:
    """Pause workers, or end that. A paused worker keeps its copies and seeds none."""
    with transaction.atomic():
        rows = Worker.objects.filter(pk__in=_ids(workers), paused=not paused).select_for_update()
        changed = list(rows)
        Worker.objects.filter(pk__in=[worker.pk for worker in changed]).update(paused=paused)
        for worker in changed:
            verb = "Paused" if paused else "Resumed"
            record_audit(
                actor,
                "worker.pause" if paused else "worker.resume",
                f"{verb} {worker.name}",
                target=worker.node_id,
            )
        if changed:
            ids = [worker.pk for worker in changed]
            stored_health.changed_on(ids)
            _announce(ids)
    return len(changed)


def set_blind_peer(worker: Worker, values: Mapping[str, object], actor: Actor) -> list[str]:
    """Set some of BLIND_PEER_FIELDS. Returns those that changed. Raises ValidationError; nothing is changed
    then."""
    assert values.keys() <= BLIND_PEER_FIELDS
    with transaction.atomic():
        row = Worker.objects.select_for_update().get(pk=worker.pk)
        changed = [name for name, value in values.items() if getattr(row, name) != value]
        if not changed:
            return []
        for name in changed:
            setattr(row, name, values[name])
        row.clean_fields(exclude={field.name for field in Worker._meta.fields}.difference(changed))
        row.save(update_fields=changed)
        record_audit(
            actor,
            "worker.blind_peer",
            f"Changed what apps may at {row.name}",
            target=row.node_id,
            data={"changed": changed},
        )
        _announce([row.pk])
    return changed


def workers_edited(workers: Workers) -> None:
    """Notify listeners after limits, zone, tags or weight changed in a form."""
    _announce(_ids(workers))


def _change(
    workers: Workers,
    actor: Actor,
    action: WorkerAction,
    verb: str,
    values: dict[str, object],
) -> int:
    """Apply `action` to the workers whose state allows it; their drives are planned again."""
    state = STATE_AFTER[action]
    with transaction.atomic():
        rows = Worker.objects.filter(pk__in=_ids(workers), state__in=states_before(action))
        changed = list(rows.select_for_update())
        ids = [worker.pk for worker in changed]
        if not ids:
            return 0
        Worker.objects.filter(pk__in=ids).update(state=state, **values)
        for worker in changed:
            record_audit(actor, f"worker.{action}", f"{verb} {worker.name}", target=worker.node_id)
            record_event(f"worker.{state}", f"{worker.name} is {state.label} now", worker=worker)
        # New free space concerns every drive that wants more copies: the next full plan gets the worker.
        # A drain concerns the drives on the worker.
        touched = Drive.objects.filter(replicas__worker__in=ids)
        touched.update(dirty=True)
        _announce(ids)
        announce(list(touched.values_list("pk", flat=True).distinct()))
    return len(ids)


def _ids(workers: Workers) -> list[int]:
    return [worker.pk for worker in workers]


def _announce(ids: list[int]) -> None:
    transaction.on_commit(partial(signals.workers_changed.send, sender=Worker, ids=ids))
