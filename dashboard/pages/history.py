"""Alerts, events and the audit log."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from seederfarm.registry.models import Alert, AuditEntry, Event
from seederfarm.registry.models.history import Severity
from seederfarm.registry.queries import drives_like, whole_key
from seederfarm.registry.services.alerts import acknowledge as acknowledge_alerts

from ..reads.looks import SEVERITY, of_event
from .access import action, page

ROWS: Final = 100
"""Events and entries of a page."""
OPEN: Final = 100
OVER: Final = 50
SEARCHED: Final = 50


@page
def alerts(request: HttpRequest) -> HttpResponse:
    rows = Alert.objects.select_related("drive", "worker", "acknowledged_by")
    lasting = list(rows.filter(resolved_at__isnull=True)[:OPEN])
    context = {
        "open": [(alert, SEVERITY[alert.severity]) for alert in lasting if alert.acknowledged_at is None],
        "seen": [(alert, SEVERITY[alert.severity]) for alert in lasting if alert.acknowledged_at is not None],
        "over": rows.filter(resolved_at__isnull=False).order_by("-resolved_at")[:OVER],
        "may_act": request.user.has_perm("registry.change_alert"),
    }
    return render(request, "dashboard/alerts.html", context)


@action("registry.change_alert")
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    if isinstance(request.user, User):
        acknowledge_alerts(Alert.objects.filter(pk=pk), request.user)
    return HttpResponseRedirect(reverse("dashboard:alerts"))


@page
def events(request: HttpRequest) -> HttpResponse:
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
    found, older = _part(request, AuditEntry.objects.all())
    return render(request, "dashboard/audit.html", {"rows": found, "older": older})


def _part(request: HttpRequest, rows: QuerySet[Any]) -> tuple[list[Any], int | None]:
    """The newest rows below `?before=ID`, and where the next part begins. Costs the same at any depth."""
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) < 18:
        rows = rows.filter(pk__lt=int(before))
    found = list(rows.order_by("-pk")[: ROWS + 1])
    return found[:ROWS], found[ROWS - 1].pk if len(found) > ROWS else None
