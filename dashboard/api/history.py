"""Alerts, events and the audit log."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from django.db.models import Q
from django.http import HttpRequest
from ninja import Path, Query, Router
from pydantic import AwareDatetime, Field

from seederfarm.registry.models import Alert, AuditEntry, Event
from seederfarm.registry.models.access import Scope
from seederfarm.registry.models.history import Severity
from seederfarm.registry.queries import whole_key
from seederfarm.registry.services.alerts import acknowledge

from .access import READ, BearerToken, caller_of
from .lists import page_of_events
from .paging import MAX_ID, NEWEST, PageOf, PageQuery, Text, in_order, wrong
from .problems import ProblemError
from .shapes import AlertShape, AuditShape, EventShape

router: Final = Router(tags=["history"])
ACKNOWLEDGE: Final = BearerToken(Scope.ALERTS, "registry.change_alert")
AlertId = Annotated[int, Path(ge=0, le=MAX_ID)]


class AlertQuery(PageQuery):
    """Filters of the list of alerts."""

    state: Literal["open", "acknowledged", "resolved"] | None = Field(
        None, description="`open`: neither acknowledged nor resolved."
    )
    severity: Severity | None = None


class EventQuery(PageQuery):
    """Filters of the list of events."""

    kind: Text = Field("", max_length=40, description="Such as `replica.complete`.")
    severity: Severity | None = None
    drive: Text = Field("", max_length=200, description="A key in any spelling.")
    worker: Text = Field("", max_length=100, description="Id or name.")
    since: AwareDatetime | None = Field(None, description="Only events at or after this time.")


class AuditQuery(PageQuery):
    """Filters of the audit log."""

    action: Text = Field("", max_length=40, description="Such as `drive.add`.")
    since: AwareDatetime | None = Field(None, description="Only entries at or after this time.")


@router.get("/alerts", response=PageOf[AlertShape], auth=READ)
def list_alerts(request: HttpRequest, query: Query[AlertQuery]) -> Any:
    """List alerts, the newest first."""
    rows = Alert.objects.all()
    if query.state is not None:
        rows = rows.filter(resolved_at__isnull=query.state != "resolved")
    if query.state in ("open", "acknowledged"):
        rows = rows.filter(acknowledged_at__isnull=query.state == "open")
    if query.severity is not None:
        rows = rows.filter(severity=query.severity)
    ids, following = NEWEST.page(rows, query)
    alerts = in_order(ids, Alert.objects.select_related("drive", "worker", "acknowledged_by"))
    return PageOf[AlertShape](items=[AlertShape.of(alert) for alert in alerts], next=following)


def key_of(text: str) -> str:
    """Return a key in hex, from any spelling. Raises ProblemError (422)."""
    key = whole_key(text)
    if key is None:
        raise wrong("query.drive", "not a whole key")
    return key


@router.post("/alerts/{alert}/acknowledge", response=AlertShape, auth=ACKNOWLEDGE)
def acknowledge_alert(request: HttpRequest, alert: AlertId) -> Any:
    """Mark an alert as seen; it stays until its cause is gone. Repeating changes nothing."""
    acknowledge(Alert.objects.filter(pk=alert), caller_of(request).actor)
    rows = Alert.objects.select_related("drive", "worker", "acknowledged_by")
    found = rows.filter(pk=alert).first()
    if found is None:
        raise ProblemError(404, "No alert has this number.")
    return AlertShape.of(found)


@router.get("/events", response=PageOf[EventShape], auth=READ)
def list_events(request: HttpRequest, query: Query[EventQuery]) -> Any:
    """List events, the newest first."""
    rows = Event.objects.all()
    if query.kind:
        rows = rows.filter(kind=query.kind)
    if query.severity is not None:
        rows = rows.filter(severity=query.severity)
    if query.drive:
        rows = rows.filter(drive__key=key_of(query.drive))
    if query.worker:
        rows = rows.filter(Q(worker__name=query.worker) | Q(worker__node_id=query.worker))
    if query.since is not None:
        rows = rows.filter(at__gte=query.since)
    return page_of_events(rows, query)


@router.get("/audit", response=PageOf[AuditShape], auth=READ)
def list_audit(request: HttpRequest, query: Query[AuditQuery]) -> Any:
    """List actions of people and their tokens, the newest first."""
    rows = AuditEntry.objects.all()
    if query.action:
        rows = rows.filter(action=query.action)
    if query.since is not None:
        rows = rows.filter(at__gte=query.since)
    ids, following = NEWEST.page(rows, query)
    entries = in_order(ids, AuditEntry.objects.all())
    return PageOf[AuditShape](items=[AuditShape.of(entry) for entry in entries], next=following)
