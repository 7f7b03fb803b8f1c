"""What `placement` is told: the registry, loaded set by set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import connection
from django.db.models import QuerySet

from seederfarm.placement.model import DriveSpec, ReplicaState, WorkerSpec
from seederfarm.registry.models import Drive, Replica

from .sql import batches
from .standing import Seen, standing_of

UNKNOWN_SIZE: Final = 1 << 20
"""Bytes that a drive is taken to need as long as nobody has seen it."""
DISTRUST_AFTER: Final = 3
"""Failed proofs in a row after which a copy that calls itself complete does not count as that."""
CHUNK: Final = 20_000
"""Rows fetched at once."""
ID_BATCH: Final = 10_000
"""Primary keys in one condition."""

_NOTHING: Final[frozenset[Any]] = frozenset()


class State(NamedTuple):
    drives: list[DriveSpec]
    workers: list[WorkerSpec]
    replicas: dict[int, list[ReplicaState]]


def load(seen: Sequence[Seen], now: datetime, ids: Sequence[int] | None = None) -> State:
    """Everything, or what concerns the drives `ids`. Paused drives are left out: nothing moves of them."""
    free = _promised(seen)
    workers = [
        WorkerSpec(
            id=w.id,
            standing=standing_of(w, now),
            zone=w.zone,
            tags=frozenset(w.tags),
            free_bytes=max(0, w.free_bytes - free.get(w.id, 0)),
            capacity_bytes=w.capacity_bytes,
            weight=w.weight,
        )
        for w in seen
    ]
    return State(list(_drives(ids)), workers, _replicas(ids))


def _drives(ids: Sequence[int] | None) -> Iterator[DriveSpec]:
    pins: dict[int, set[int]] = {}
    through = Drive.pinned_workers.through.objects
    for rows in _parts(through.all(), "drive_id__in", ids):
        for drive_id, worker_id in rows.values_list("drive_id", "worker_id").iterator(chunk_size=CHUNK):
            pins.setdefault(drive_id, set()).add(worker_id)
    tags: dict[tuple[str, ...], frozenset[str]] = {(): _NOTHING}
    kept = Drive.objects.exclude(state=Drive.State.PAUSED)
    removing = str(Drive.State.REMOVING)
    for rows in _parts(kept, "pk__in", ids):
        found = rows.order_by().values_list(
            "pk", "byte_length", "replicas_min", "replicas_max", "priority", "required_tags", "state"
        )
        for pk, size, least, most, priority, words, state in found.iterator(chunk_size=CHUNK):
            required = tuple(words)
            if required not in tags:
                tags[required] = frozenset(required)
            pinned = frozenset(pins[pk]) if pk in pins else _NOTHING
            yield DriveSpec(
                pk,
                UNKNOWN_SIZE if size is None else size,
                least,
                most,
                priority,
                pinned,
                tags[required],
                state == removing,
            )


def _replicas(ids: Sequence[int] | None) -> dict[int, list[ReplicaState]]:
    held: dict[int, list[ReplicaState]] = {}
    complete = str(Replica.Phase.COMPLETE)
    for rows in _parts(Replica.objects.filter(desired=True), "drive_id__in", ids):
        found = rows.order_by().values_list("drive_id", "worker_id", "phase", "have_blocks", "proof_failures")
        for drive_id, worker_id, phase, have, failures in found.iterator(chunk_size=CHUNK):
            state = ReplicaState(worker_id, phase == complete and failures < DISTRUST_AFTER, have)
            if drive_id in held:
                held[drive_id].append(state)
            else:
                held[drive_id] = [state]
    return held


def _promised(seen: Sequence[Seen]) -> dict[int, int]:
    """Bytes by worker that copies assigned to it have still to download."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT r.worker_id, sum(CASE WHEN coalesce(d.byte_length, %s) > r.have_bytes "
            "THEN coalesce(d.byte_length, %s) - r.have_bytes ELSE 0 END) FROM registry_replica r "
            "JOIN registry_drive d ON d.id = r.drive_id WHERE r.desired AND NOT r.phase = 'complete' "
            "GROUP BY r.worker_id",
            [UNKNOWN_SIZE, UNKNOWN_SIZE],
        )
        return {int(worker): int(size) for worker, size in cursor.fetchall()}


def _parts(rows: QuerySet[Any], lookup: str, ids: Iterable[int] | None) -> Iterator[QuerySet[Any]]:
    if ids is None:
        yield rows
        return
    for batch in batches(ids, ID_BATCH):
        yield rows.filter(**{lookup: batch})
