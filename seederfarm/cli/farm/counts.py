"""The farm in a few numbers. Import after `django_setup.open_farm`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Count, F, IntegerField, Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from ...registry.models import Drive, Event, Replica, Worker
from ...registry.models.worker import silent_since
from ...registry.queries import under_replicated


def with_complete(drives: QuerySet[Drive]) -> QuerySet[Any]:
    """Annotate with `complete`, the number of complete copies, and `fullest_bytes` and
    `unavailable_bytes` of the fullest copy."""
    here = Replica.objects.filter(drive=OuterRef("pk"), desired=True)
    number = here.filter(phase=Replica.Phase.COMPLETE).order_by().values("drive").annotate(n=Count("pk"))
    best = here.order_by("-fork", "-have_blocks")
    found: QuerySet[Any] = drives.annotate(
        complete=Coalesce(Subquery(number.values("n"), output_field=IntegerField()), 0),
        fullest_bytes=Subquery(best.values("have_bytes")[:1]),
        unavailable_bytes=Subquery(best.values("unavailable_bytes")[:1]),
    )
    return found


NETWORK_PROBLEMS = ("engine.bootstrap_silent", "engine.bootstrap_unresolved")
NETWORK_EVENTS = (*NETWORK_PROBLEMS, "engine.network_reached", "engine.engine_ready")
MAX_NETWORK_EVENTS = 500
"""Newest events that `status` searches for network trouble."""


def network_problems() -> list[str]:
    """Bootstrap nodes that workers report as unresolved or silent, unless that is over; a line each."""
    newest: dict[int | None, Event] = {}
    events = Event.objects.filter(kind__in=NETWORK_EVENTS, worker__isnull=False).exclude(
        worker__state=Worker.State.RETIRED
    )
    for event in events.order_by("-id")[:MAX_NETWORK_EVENTS]:
        newest.setdefault(event.worker_id, event)
    return [event.text for event in newest.values() if event.kind in NETWORK_PROBLEMS]


def last_heard() -> datetime | None:
    """When a worker of the farm last reported; None: none ever did."""
    found: datetime | None = Worker.objects.exclude(state=Worker.State.RETIRED).aggregate(
        at=Max("last_seen_at")
    )["at"]
    return found


def counts() -> dict[str, int]:
    """Of the drives that are `short` of copies, those `unproven` have enough complete ones, but not enough
    that have proven it."""
    copies = Replica.objects.filter(desired=True)
    workers = Worker.objects.exclude(state=Worker.State.RETIRED)
    short = under_replicated(Drive.objects.all())
    return {
        "drives": Drive.objects.count(),
        "short": short.count(),
        "unproven": with_complete(short).filter(complete__gte=F("replicas_min")).count(),
        "copies": copies.count(),
        "complete": copies.filter(phase=Replica.Phase.COMPLETE).count(),
        "workers": workers.count(),
        "online": workers.filter(last_seen_at__gte=silent_since(timezone.now())).count(),
    }
