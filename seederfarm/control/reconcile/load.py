"""Loads the input of `placement` from the registry."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import connection

from farmwire.gaps import Holding
from seederfarm.placement.model import Assign, DriveSpec, ReplicaState, WorkerSpec
from seederfarm.registry.models import BlindCore, Drive, Replica
from seederfarm.registry.models.replica import MAX_PROOF_FAILURES
from seederfarm.registry.services.blind_cores import of_wanted_drive
from seederfarm.registry.services.copies import HOLDING, holding_of
from seederfarm.registry.sql import rows_as_table

from .liveness import WorkerRow, is_expected, status_of

UNKNOWN_SIZE: Final = 1 << 20
"""Bytes assumed for a drive of unknown size."""
CHUNK: Final = 20_000
"""Rows fetched at once."""
ID_BATCH: Final = 10_000
"""Primary keys in one condition."""
_NOTHING: Final[frozenset[Any]] = frozenset()
_KEPT: Final = "t.state <> 'paused'"


class PlanInput(NamedTuple):
    """A part of the drives, as placement takes them."""

    drives: list[DriveSpec]
    replicas: dict[int, list[ReplicaState]]
    under_replicated: set[int]
    """Drives that are marked under-replicated."""

    def flag_mismatches(self) -> tuple[list[int], list[int]]:
        """Drives that lack the under-replicated mark, and drives that have it wrongly."""
        unmarked: list[int] = []
        marked: list[int] = []
        for drive in self.drives:
            complete = sum(1 for replica in self.replicas.get(drive.id, ()) if replica.complete)
            under = complete < drive.replicas_min
            if under is not (drive.id in self.under_replicated):
                (unmarked if under else marked).append(drive.id)
        return unmarked, marked


def pins() -> tuple[str, list[Any]]:
    """A table expression and its parameters: which drives are pinned to which workers."""
    (people, first), (clients, second) = _pins()
    return f"({people} UNION {clients})", [*first, *second]


def _pins() -> tuple[tuple[str, Sequence[Any]], tuple[str, Sequence[Any]]]:
    """Queries and their parameters: what people pin, and what only clients of blind peers want, to the
    workers where they want it."""
    of_people = Drive.pinned_workers.through.objects.order_by()
    of_clients = BlindCore.objects.filter(~of_wanted_drive()).order_by()
    return (
        of_people.values_list("drive_id", "worker_id").query.sql_with_params(),
        of_clients.values_list("drive_id", "worker_id").query.sql_with_params(),
    )


def load(ids: Sequence[int]) -> PlanInput:
    """The state of the drives `ids`, without paused ones, whose copies do not move."""
    under: set[int] = set()
    return PlanInput(list(_drives(ids, under)), _replicas(ids), under)


def workers(seen: Sequence[WorkerRow], now: datetime) -> list[WorkerSpec]:
    """Workers as placement takes them. Room that is promised to copies that are not complete yet does not
    count as free."""
    promised = _reserved_bytes()
    return [
        WorkerSpec(
            id=w.id,
            status=status_of(w, now),
            zone=w.zone,
            tags=frozenset(w.tags),
            free_bytes=max(0, w.free_bytes - promised.get(w.id, 0)),
            capacity_bytes=w.capacity_bytes,
            weight=w.weight,
            expected=is_expected(w, now),
        )
        for w in seen
    ]


def with_assigned(workers: Sequence[WorkerSpec], assigned: Iterable[Assign]) -> list[WorkerSpec]:
    """The workers after these assignments."""
    taken: dict[int, int] = {}
    for move in assigned:
        taken[move.worker] = taken.get(move.worker, 0) + move.bytes
    return [w._replace(free_bytes=w.free_bytes - taken.get(w.id, 0)) for w in workers]


def _drives(ids: Sequence[int], under: set[int]) -> Iterator[DriveSpec]:
    pinned_to: dict[int, set[int]] = {}
    for query, values in _pins():  # not their union, whose rows SQLite finds by no index
        pairs = f"SELECT t.drive_id, t.worker_id FROM ({query}) t"
        for drive_id, worker_id in _rows(pairs, "drive_id", ids, values=values):
            pinned_to.setdefault(drive_id, set()).add(worker_id)
    tags: dict[str, frozenset[str]] = {"[]": _NOTHING}
    removing = str(Drive.State.REMOVING)
    columns = (
        "SELECT t.id, t.byte_length, t.replicas_min, t.replicas_max, t.priority, t.required_tags, t.state, "
        "t.under_replicated FROM registry_drive t"
    )
    for pk, size, minimum, maximum, priority, words, state, is_under in _rows(columns, "id", ids, _KEPT):
        if is_under:
            under.add(pk)
        if words not in tags:
            tags[words] = frozenset(json.loads(words))
        pinned = frozenset(pinned_to[pk]) if pk in pinned_to else _NOTHING
        yield DriveSpec(
            pk,
            UNKNOWN_SIZE if size is None else size,
            minimum,
            maximum,
            priority,
            pinned,
            tags[words],
            state == removing,
        )


def _replicas(ids: Sequence[int]) -> dict[int, list[ReplicaState]]:
    held: dict[int, list[ReplicaState]] = {}
    complete = str(Replica.Phase.COMPLETE)
    query = (
        "SELECT t.drive_id, t.worker_id, t.phase, t.proven, t.have_blocks, t.total_blocks, t.fork, t.length "
        "FROM registry_replica t"
    )
    partial: set[int] = set()
    heads: dict[int, tuple[int, int, int]] = {}
    for drive_id, worker_id, phase, proven, have, total, *head in _rows(query, "drive_id", ids, "t.desired"):
        done = phase == complete
        state = ReplicaState(worker_id, bool(proven), have, unproven=done and not proven)
        if done and not head[1]:
            state = state._replace(empty=True)
        if 0 < have < total:
            partial.add(drive_id)
        elif have or done:
            whole = (head[0], head[1], total)
            if heads.setdefault(drive_id, whole) != whole:
                partial.add(drive_id)
        if drive_id in held:
            held[drive_id].append(state)
        else:
            held[drive_id] = [state]
    if partial:
        _add_holdings(held, sorted(partial))
    return held


def _add_holdings(held: dict[int, list[ReplicaState]], ids: Sequence[int]) -> None:
    """Load the blocks of incomplete copies of these drives. Other copies are whole and of one length."""
    columns = ("drive_id", "worker_id", "proof_failures", "last_proven_at", *HOLDING)
    query = f"SELECT {', '.join(f't.{column}' for column in columns)} FROM registry_replica t"
    found: dict[tuple[int, int], Holding] = {}
    unproven: list[tuple[int, int]] = []
    forks: dict[int, int] = {}
    for drive_id, worker_id, failures, proven, *numbers in _rows(query, "drive_id", ids, "t.desired"):
        holding = holding_of(*numbers)
        if failures >= MAX_PROOF_FAILURES:
            holding = _doubted(holding)
        elif proven is None:
            unproven.append((drive_id, worker_id))
        if holding.have:
            forks[drive_id] = min(holding.fork, forks.get(drive_id, holding.fork))
        found[drive_id, worker_id] = holding
    for copy in unproven:
        if found[copy].fork > forks.get(copy[0], found[copy].fork):
            found[copy] = _doubted(found[copy])
    for drive_id in ids:
        held[drive_id] = [
            state._replace(holding=found.get((drive_id, state.worker))) for state in held[drive_id]
        ]


def _doubted(holding: Holding) -> Holding:
    """The copy may have all that it reports, and does not count."""
    return holding._replace(have=min(holding.have, holding.blocks - 1), gaps=())


def _reserved_bytes() -> dict[int, int]:
    """Bytes that assigned copies still have to download, by worker."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT r.worker_id, sum(CASE WHEN coalesce(d.byte_length, %s) > r.have_bytes "
            "THEN coalesce(d.byte_length, %s) - r.have_bytes ELSE 0 END) FROM registry_replica r "
            "JOIN registry_drive d ON d.id = r.drive_id WHERE r.desired AND NOT r.phase = 'complete' "
            "GROUP BY r.worker_id",
            [UNKNOWN_SIZE, UNKNOWN_SIZE],
        )
        return {int(worker): int(size) for worker, size in cursor.fetchall()}


def _rows(
    query: str, column: str, ids: Sequence[int], condition: str = "true", *, values: Sequence[Any] = ()
) -> Iterator[tuple[Any, ...]]:
    """Rows of `query` (from a table that it calls `t`, with the parameters `values`) whose `column` is one of
    `ids`.

    Joined to the ids: a condition with thousands of values would cost more than the rows.
    """
    table, parameters = rows_as_table((("id", "bigint"),), [(pk,) for pk in ids])
    with connection.chunked_cursor() as cursor:
        cursor.execute(f"{query} JOIN {table} ON v.id = t.{column} WHERE {condition}", [*values, *parameters])
        while rows := cursor.fetchmany(CHUNK):
            yield from rows
