"""Every copy: each drive × worker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Q, QuerySet
from django.http import QueryDict

from seederfarm.registry.models import Replica
from seederfarm.registry.queries import drives_like

from .looks import Look, of_copy

ROWS: Final = 50
SEARCHED: Final = 1000
_UNFINISHED: Final = (Replica.Phase.ASSIGNED, Replica.Phase.LOOKING, Replica.Phase.DOWNLOADING)
_COMPLETE: Final = Q(desired=True, phase=Replica.Phase.COMPLETE)
STATES: Final = {
    "copying": ("is-work", "work", "Copying", Q(desired=True, phase=Replica.Phase.DOWNLOADING)),
    "looking": ("is-wait", "wait", "Looking for peers", Q(desired=True, phase__in=_UNFINISHED[:2])),
    "proven": ("is-safe", "safe", "Complete and proven", _COMPLETE & Q(proven=True, proof_failures=0)),
    "unproven": ("is-work", "work", "Proof pending", _COMPLETE & Q(proven=False, proof_failures=0)),
    "doubt": ("is-risk", "risk", "Wrong proof", Q(desired=True, proof_failures__gt=0)),
    "error": ("is-fail", "fail", "Error", Q(desired=True, phase=Replica.Phase.ERROR)),
    "lost": ("is-idle", "silent", "On lost workers", Q(desired=True, worker__lost_since__isnull=False)),
    "removing": ("is-idle", "gone", "Removing", Q(desired=False)),
}


@dataclass(frozen=True, slots=True)
class CopyFilter:
    """Filters of the list of copies, as its address has them."""

    q: str
    state: str
    worker: str

    @classmethod
    def read(cls, query: QueryDict) -> CopyFilter:
        """The filters in a query string. Unknown values count as not given."""
        state = query.get("state", "")
        return cls(
            query.get("q", "").strip()[:200], state if state in STATES else "", query.get("worker", "")[:100]
        )


def listed(given: CopyFilter) -> QuerySet[Replica]:
    """Return the copies that fit, the newest first."""
    found = Replica.objects.select_related("drive", "worker").order_by("-pk")
    if given.state:
        found = found.filter(STATES[given.state][3])
    if given.worker:
        found = found.filter(worker__name=given.worker)
    if given.q:
        found = found.filter(drive__in=drives_like(given.q, SEARCHED))
    return found


def rows(copies: Iterable[Replica], now: datetime) -> list[tuple[Replica, Look]]:
    """Copies with their looks at `now`."""
    return [(copy, of_copy(copy, copy.drive, now)) for copy in copies]
