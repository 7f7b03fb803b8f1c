"""Computes the facts that decide the health of drives from their copies, in SQL.

One statement, written by hand: every report needs it, and the ORM takes longer to write it than the database
to answer. A property test compares it with `health.counts`, `is_whole` and `is_arriving`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from django.db import connection
from django.utils.dateparse import parse_datetime

from .health import ARRIVING, Facts, health_of, proofs_since
from .health_states import Health
from .models import Replica, Worker
from .models.history import FORK_ALERT
from .models.replica import MAX_PROOF_FAILURES
from .sql import among, rows_as_table, stored


class Stored(NamedTuple):
    """The columns of a drive that `stored_health` keeps."""

    health: Health
    counted: int
    proven_at: datetime | None
    """The oldest proof among the copies that count."""
    arrived_at: datetime | None
    """The newest growth or assignment of a copy that makes the drive arriving."""


class HealthNow(NamedTuple):
    """A drive as it is stored, and as it follows from its copies."""

    id: int
    stale: bool
    since: datetime
    before: Stored
    now: Stored


_SERVING: Final = ", ".join(f"'{state.value}'" for state in (Worker.State.ACTIVE, Worker.State.DRAINING))
_GONE: Final = ", ".join(f"'{phase.value}'" for phase in (Replica.Phase.REMOVING, Replica.Phase.REMOVED))
_HERE: Final = "w.id IS NOT NULL"
_NEWER: Final = (("id", "bigint"), ("length", "bigint"), ("fork", "bigint"))


def counting(length: str = "d.length", fork: str = "d.fork") -> str:
    """SQL of `health.counts` for a desired replica `r` of the drive `d`, on a worker that serves. Its one
    parameter is `health.proofs_since`."""
    return f"""r.proven AND r.proof_failures = 0 AND r.last_proven_at > %s
    AND r.fork >= coalesce({fork}, 0) AND r.length >= coalesce({length}, 0)
    AND (r.proven_fork > coalesce({fork}, 0)
      OR (r.proven_fork = coalesce({fork}, 0) AND r.proven_length >= coalesce({length}, 0)))"""


def _query(drives: str, length: str, fork: str) -> str:
    """`drives`: the table `d`, and what else says its length and fork."""
    counts = f"{_HERE} AND {counting(length, fork)}"
    return f"""
SELECT d.id, d.state, d.replicas_min, {length}, d.health_stale, d.health_since,
  d.health, d.counted, d.proven_at, d.arrived_at,
  count(*) FILTER (WHERE {counts}),
  min(r.last_proven_at) FILTER (WHERE {counts}),
  count(*) FILTER (WHERE {_HERE} AND r.completed_at IS NOT NULL AND r.have_blocks > 0
    AND r.proof_failures < {MAX_PROOF_FAILURES} AND r.phase NOT IN ({_GONE})),
  count(r.completed_at),
  max(r.grew_at) FILTER (WHERE {_HERE} AND r.grew_at > %s),
  max(r.created_at) FILTER (WHERE {_HERE} AND r.created_at > %s),
  EXISTS (SELECT 1 FROM registry_alert a
    WHERE a.drive_id = d.id AND a.kind = '{FORK_ALERT}' AND a.resolved_at IS NULL)
FROM {drives}
LEFT JOIN registry_replica r ON r.drive_id = d.id
LEFT JOIN registry_worker w ON w.id = r.worker_id AND r.desired AND w.state IN ({_SERVING})
  AND NOT w.paused AND w.lost_since IS NULL
"""


_PLAIN: Final = _query("registry_drive d", "d.length", "d.fork")


def health_now(
    drives: Sequence[int], now: datetime, newer: Sequence[tuple[int, int | None, int | None]] = ()
) -> list[HealthNow]:
    """Return the health of these drives, by primary key; those that do not exist are left out. One query, one
    pass over their copies. `newer`: ids, lengths and forks that rows will get."""
    condition, ids = among("d.id", drives)
    proofs, arrivals = proofs_since(now), now - ARRIVING
    parameters: list[Any] = [proofs, proofs, arrivals, arrivals]
    query, groups = _PLAIN, "d.id"
    if newer:
        table, values = rows_as_table(_NEWER, newer)
        parameters += values
        join = f"registry_drive d LEFT JOIN {table} ON v.id = d.id"
        query = _query(join, "coalesce(v.length, d.length)", "coalesce(v.fork, d.fork)")
        groups = "d.id, v.length, v.fork"
    with connection.cursor() as cursor:
        cursor.execute(f"{query} WHERE {condition} GROUP BY {groups}", [*map(stored, parameters), ids])
        return [_health_now(*row) for row in cursor.fetchall()]


def _health_now(
    pk: int, state: str, wanted: int, length: int | None, stale: Any, since: Any,
    health: str, counted: int, proven_at: Any, arrived_at: Any,
    counts: int, proof: Any, whole: int, once: int, grew: Any, new: Any, forked: Any,
) -> HealthNow:  # fmt: skip
    arrivals = [at for at in (_time(grew), _time(new)) if at is not None]
    facts = Facts(
        state=state,
        wanted=wanted,
        is_known=bool(length),
        is_rewritten=bool(forked),
        counted=counts,
        is_online=whole > 0,
        was_complete=once > 0,
        is_arriving=bool(arrivals),
    )
    last = _time(since)
    assert last is not None
    return HealthNow(
        pk,
        bool(stale),
        last,
        Stored(Health(health), counted, _time(proven_at), _time(arrived_at)),
        Stored(health_of(facts), counts, _time(proof), max(arrivals, default=None)),
    )


def _time(value: Any) -> datetime | None:
    """A time as the database returns it: SQLite has text, or times without a zone, in UTC."""
    found = parse_datetime(value) if isinstance(value, str) else value
    assert found is None or isinstance(found, datetime)
    return found if found is None or found.tzinfo is not None else found.replace(tzinfo=UTC)
