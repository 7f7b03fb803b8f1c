"""Events and the audit log."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
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


def _part(request: HttpRequest, rows: QuerySet[Any]) -> tuple[list[Any], int | None]:
    """The newest rows below `?before=ID`, and where the next part begins. Costs the same at any depth."""
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) < 18:
        rows = rows.filter(pk__lt=int(before))
    found = list(rows.order_by("-pk")[: ROWS + 1])
    return found[:ROWS], found[ROWS - 1].pk if len(found) > ROWS else None
