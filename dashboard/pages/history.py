"""Events and the audit log."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from seederfarm.registry.models import AuditEntry, Event
from seederfarm.registry.models.history import Severity
from seederfarm.registry.queries import drives_like, whole_key

from ..reads.looks import SEVERITY, of_event
from .access import page

ROWS: Final = 100
"""Events and entries of a page."""
SEARCHED: Final = 50
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PLACE: Final = re.compile(r"([0-9]{1,17})-([0-9]{1,18})")


@page
def events(request: HttpRequest) -> HttpResponse:
    """`/events/`: by severity and drive, the newest first."""
    rows = Event.objects.select_related("drive", "worker")
    severity, q = request.GET.get("severity", ""), request.GET.get("q", "").strip()[:200]
    if severity in Severity.values:
        rows = rows.filter(severity=severity)
    if q:
        rows = rows.filter(drive__in=drives_like(q, SEARCHED)) if whole_key(q) or len(q) > 2 else rows.none()
    found, older = _part(request, rows)
    context = {
        "rows": [(event, of_event(event.kind, event.severity)) for event in found],
        "older": older,
        "severity": severity,
        "severities": [(value, SEVERITY[value]) for value in Severity.values],
        "q": q,
    }
    return render(request, "dashboard/events.html", context)


@page
def audit(request: HttpRequest) -> HttpResponse:
    """`/audit/`: what people and their tokens changed, the newest first."""
    found, older = _part(request, AuditEntry.objects.all())
    return render(request, "dashboard/audit.html", {"rows": found, "older": older})


def _part(request: HttpRequest, rows: QuerySet[Any]) -> tuple[list[Any], str | None]:
    """The newest rows before `?before=TIME-ID`, and where the next part begins. As quick at any depth."""
    if (before := _read(request.GET.get("before", ""))) is not None:
        at, pk = before
        rows = rows.filter(Q(at__lt=at) | Q(at=at, pk__lt=pk), at__lte=at)
    found = list(rows.order_by("-at", "-pk")[: ROWS + 1])
    return found[:ROWS], _place(found[ROWS - 1]) if len(found) > ROWS else None


def _place(row: Any) -> str:
    """Microseconds since 1970, and the id."""
    return f"{(row.at - _EPOCH) // timedelta(microseconds=1)}-{row.pk}"


def _read(text: str) -> tuple[datetime, int] | None:
    found = _PLACE.fullmatch(text)
    return None if found is None else (_EPOCH + timedelta(microseconds=int(found[1])), int(found[2]))
