"""The state of a drive as pages, command line and alerts show it: one function.

`Drive.state` is what a person wants (active, paused, removing); `Health` is what follows from that and from
the copies. A drive's own page calls the function; `stored_health` keeps what the query finds, for lists. A
property test compares the two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.conf import settings

from .health_states import Health as Health
from .models import Alert, Drive, Replica, Worker
from .models.history import FORK_ALERT
from .models.replica import MAX_PROOF_FAILURES

ARRIVING: Final = timedelta(minutes=2)
"""A copy that got blocks, or was assigned, this long ago is being copied."""
AUDIT_PERIODS: Final = 2
"""Proofs count for this many times SEEDERFARM_AUDIT_EVERY."""


class Facts(NamedTuple):
    """The facts that decide the health of a drive."""

    state: str
    """`Drive.State`."""
    wanted: int
    """Copies at least."""
    is_known: bool
    """Whether any of its content is known."""
    is_rewritten: bool
    """Whether copies refuse a higher fork until a person decides."""
    counted: int
    """Copies that count (`counts`)."""
    is_online: bool
    """Whether a complete copy, of the newest version or an older one, is online (`is_whole`)."""
    was_complete: bool
    """Whether any copy was complete at some time."""
    is_arriving: bool
    """Whether any copy got blocks lately (`is_arriving`)."""


def health_of(facts: Facts) -> Health:
    """Return the health that follows from the facts of a drive."""
    short = facts.counted < facts.wanted
    if facts.state == Drive.State.REMOVING:
        return Health.REMOVING
    if facts.state == Drive.State.PAUSED:
        return Health.PAUSED
    if facts.is_rewritten:
        return Health.REWRITTEN
    if not facts.is_known:
        return Health.WAITING
    if not facts.is_online and (facts.was_complete or not facts.is_arriving):
        return Health.UNAVAILABLE
    if short:
        return Health.COPYING if facts.is_arriving else Health.AT_RISK
    return Health.SAFE


# --- copies ------------------------------------------------------------------------------------------------


def proofs_since(now: datetime) -> datetime:
    """Time before which proofs do not count."""
    return now - timedelta(seconds=AUDIT_PERIODS * settings.FARM.audit_every)


def serves(worker: Worker) -> bool:
    """Whether a worker serves its copies: it is in the farm, not paused, and not lost."""
    here = worker.state in (Worker.State.ACTIVE, Worker.State.DRAINING)
    return here and not worker.paused and worker.lost_since is None


def counts(copy: Replica, drive: Drive, now: datetime) -> bool:
    """Whether a copy is one of those that make a drive safe: wanted, complete at the newest version known,
    proven of that version within two audit periods, on a worker that serves; its last answer was right."""
    return (
        copy.desired
        and copy.proven
        and copy.proof_failures == 0
        and copy.last_proven_at is not None
        and copy.last_proven_at > proofs_since(now)
        and copy.fork >= (drive.fork or 0)
        and copy.length >= (drive.length or 0)
        and (copy.proven_fork, copy.proven_length) >= (drive.fork or 0, drive.length or 0)
        and serves(copy.worker)
    )


def is_whole(copy: Replica) -> bool:
    """Whether a copy can serve a version completely: it is complete, or was and follows its writer."""
    return (
        copy.desired
        and copy.completed_at is not None
        and copy.have_blocks > 0
        and copy.proof_failures < MAX_PROOF_FAILURES
        and copy.phase not in (Replica.Phase.REMOVING, Replica.Phase.REMOVED)
        and serves(copy.worker)
    )


def is_arriving(copy: Replica, now: datetime) -> bool:
    """Whether the copy is new or got blocks lately, on a worker that serves."""
    since = now - ARRIVING
    grew = copy.grew_at is not None and copy.grew_at > since
    return copy.desired and (grew or copy.created_at > since) and serves(copy.worker)


def facts_of(drive: Drive, copies: Collection[Replica], *, is_rewritten: bool, now: datetime) -> Facts:
    """`copies` are all of the drive, with their workers."""
    return Facts(
        state=drive.state,
        wanted=drive.replicas_min,
        is_known=bool(drive.length),
        is_rewritten=is_rewritten,
        counted=sum(counts(copy, drive, now) for copy in copies),
        is_online=any(map(is_whole, copies)),
        was_complete=any(copy.completed_at is not None for copy in copies),
        is_arriving=any(is_arriving(copy, now) for copy in copies),
    )


def is_rewritten(drives: Iterable[Drive]) -> set[int]:
    """Primary keys of those drives whose copies refuse a higher fork."""
    ids = [drive.pk for drive in drives]
    rows = Alert.objects.filter(drive__in=ids, kind=FORK_ALERT, resolved_at__isnull=True)
    return {pk for pk in rows.values_list("drive_id", flat=True) if pk is not None}
