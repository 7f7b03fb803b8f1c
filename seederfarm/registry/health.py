"""The state of a drive as pages, command line and alerts show it: one function, and the same in SQL.

`Drive.state` is what a person wants (active, paused, removing); `Health` is what follows from that and from
the copies. Lists use the annotation, a drive's own page calls the function; a property test compares them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    IntegerField,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextChoices,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from .models import Alert, Drive, Replica, Worker
from .models.replica import MAX_PROOF_FAILURES
from .services.drives import FORK_ALERT

ARRIVING: Final = timedelta(minutes=2)
"""A copy that got blocks, or was assigned, this long ago is being copied."""
AUDIT_PERIODS: Final = 2
"""Proofs count for this many times SEEDERFARM_AUDIT_EVERY."""


class Health(TextChoices):
    """States, the first that applies wins."""

    REMOVING = "removing", "removing"
    """Copies are being deleted."""
    PAUSED = "paused", "paused"
    """Nothing is placed or moved; what is here is served."""
    REWRITTEN = "rewritten", "rewritten"
    """Its publisher rewrote its history; copies keep the old one."""
    UNAVAILABLE = "unavailable", "unavailable"
    """It has content, and no complete copy is online."""
    AT_RISK = "at_risk", "at risk"
    """Fewer copies count than wanted, and nothing arrives."""
    COPYING = "copying", "copying"
    """Fewer copies count than wanted, and blocks arrive."""
    WAITING = "waiting", "waiting"
    """Nothing of it was seen yet."""
    SAFE = "safe", "safe"
    """As many copies count as are wanted at least."""


UNWELL: Final = (Health.UNAVAILABLE, Health.AT_RISK, Health.REWRITTEN)
"""What an operator should look at."""


class Facts(NamedTuple):
    """What decides the health of a drive."""

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
    proven since then and within two audit periods, on a worker that serves, and its last answer was right."""
    return (
        copy.desired
        and copy.proven
        and copy.proof_failures == 0
        and copy.last_proven_at is not None
        and copy.last_proven_at > proofs_since(now)
        and copy.fork >= (drive.fork or 0)
        and copy.length >= (drive.length or 0)
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


# --- the same in SQL ---------------------------------------------------------------------------------------

_HELD: Final = [
    phase.value for phase in Replica.Phase if phase not in (Replica.Phase.REMOVING, Replica.Phase.REMOVED)
]


@dataclass(frozen=True, slots=True)
class _Copies:
    """Conditions on copies, for queries of copies and for queries of drives."""

    at: str
    """What stands before the names of a copy's fields."""
    drive: Callable[[str], F]
    """A field of the drive."""
    now: datetime

    def counting(self) -> Q:
        return self._serving() & self._all(
            proven=True,
            proof_failures=0,
            last_proven_at__gt=proofs_since(self.now),
            fork__gte=Coalesce(self.drive("fork"), 0),
            length__gte=Coalesce(self.drive("length"), 0),
        )

    def whole(self) -> Q:
        # The phases are listed: negated conditions on many rows become subqueries
        return self._serving() & self._all(
            completed_at__isnull=False,
            have_blocks__gt=0,
            proof_failures__lt=MAX_PROOF_FAILURES,
            phase__in=_HELD,
        )

    def arriving(self) -> Q:
        since = self.now - ARRIVING
        return self._serving() & (self._all(grew_at__gt=since) | self._all(created_at__gt=since))

    def were_complete(self) -> Q:
        return self._all(completed_at__isnull=False)

    def _serving(self) -> Q:
        return self._all(
            desired=True,
            worker__state__in=[Worker.State.ACTIVE, Worker.State.DRAINING],
            worker__paused=False,
            worker__lost_since__isnull=True,
        )

    def _all(self, **conditions: Any) -> Q:
        return Q(**{self.at + name: value for name, value in conditions.items()})


def with_health(drives: QuerySet[Drive], now: datetime) -> QuerySet[Any]:
    """Annotate with `health`, with `counted` (copies that count) and `proven_at`, the oldest proof of those.

    As subqueries: of rows that are not fetched only the health costs, and only where it is filtered by.
    """
    here = Replica.objects.filter(drive=OuterRef("pk")).order_by()
    copies = _Copies("", OuterRef, now)
    counting = here.filter(copies.counting()).values("drive")
    arriving = Exists(here.filter(copies.arriving()))
    was_complete = Exists(here.filter(copies.were_complete()))
    forked = Alert.objects.filter(drive=OuterRef("pk"), kind=FORK_ALERT, resolved_at__isnull=True)
    is_unavailable = ~Exists(here.filter(copies.whole())) & (was_complete | ~arriving)
    return drives.annotate(
        counted=Coalesce(
            Subquery(counting.annotate(n=Count("pk")).values("n"), output_field=IntegerField()), 0
        ),
        proven_at=Subquery(counting.annotate(at=Min("last_proven_at")).values("at")),
        health=Case(
            When(state=Drive.State.REMOVING, then=Value(Health.REMOVING.value)),
            When(state=Drive.State.PAUSED, then=Value(Health.PAUSED.value)),
            When(Exists(forked), then=Value(Health.REWRITTEN.value)),
            When(Q(length__isnull=True) | Q(length=0), then=Value(Health.WAITING.value)),
            When(is_unavailable, then=Value(Health.UNAVAILABLE.value)),
            When(Q(counted__gte=F("replicas_min")), then=Value(Health.SAFE.value)),
            When(arriving, then=Value(Health.COPYING.value)),
            default=Value(Health.AT_RISK.value),
        ),
    )


def health_of_each(drives: QuerySet[Drive], now: datetime) -> list[tuple[int, Health]]:
    """Primary key and health of each drive, in one pass over all of their copies.

    For many drives: subqueries as in `with_health` cost a look-up for each of them.
    """
    copies = _Copies("replicas__", F, now)
    rows = drives.order_by().annotate(
        counted=Count("replicas", filter=copies.counting()),
        whole=Count("replicas", filter=copies.whole()),
        once=Count("replicas", filter=copies.were_complete()),
        arriving=Count("replicas", filter=copies.arriving()),
    )
    columns = ("pk", "state", "replicas_min", "length", "counted", "whole", "once", "arriving")
    forked = set(
        Alert.objects.filter(kind=FORK_ALERT, resolved_at__isnull=True, drive__isnull=False).values_list(
            "drive_id", flat=True
        )
    )
    return [
        (pk, health_of(Facts(state, wanted, bool(length), pk in forked, counted, *map(bool, seen))))
        for pk, state, wanted, length, counted, *seen in rows.values_list(*columns)
    ]


def count_by_health(drives: QuerySet[Drive], now: datetime) -> dict[Health, int]:
    """Number of drives of each health, those without any included. Two queries."""
    found = Counter(health for _, health in health_of_each(drives, now))
    return {health: found[health] for health in Health}


def is_rewritten(drives: Iterable[Drive]) -> set[int]:
    """Primary keys of those drives whose copies refuse a higher fork."""
    ids = [drive.pk for drive in drives]
    rows = Alert.objects.filter(drive__in=ids, kind=FORK_ALERT, resolved_at__isnull=True)
    return {pk for pk in rows.values_list("drive_id", flat=True) if pk is not None}
