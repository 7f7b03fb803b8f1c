"""Alerts to acknowledge; events, samples and the audit log to read."""

from __future__ import annotations

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter, RangeDateTimeFilter

from .. import queries
from ..models import Alert, AuditEntry, Drive, Event, Sample
from ..services.alerts import acknowledge
from ..services.log import count_of
from . import cells
from .base import ReadOnlyAdmin, column

SEVERITY_COLOURS = {"info": "info", "warning": "warning", "error": "danger"}


SEARCHED = 200_000
"""Newest events whose texts a search reads."""
DRIVES_SEARCHED = 100
"""Drives whose events a search by the start of a key finds."""


class OpenFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("open", "open"), ("acknowledged", "acknowledged"), ("resolved", "resolved")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        if self.value() == "resolved":
            return queryset.filter(resolved_at__isnull=False)
        if self.value() in ("open", "acknowledged"):
            acknowledged = self.value() == "acknowledged"
            return queryset.filter(resolved_at=None, acknowledged_at__isnull=not acknowledged)
        return queryset


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin[Alert]):
    list_display = ("text", "severity_display", "state", "count", "since", "hint")
    list_filter = (OpenFilter, ("severity", ChoicesDropdownFilter))
    search_fields = ("text", "kind", "subject")
    list_select_related = ("acknowledged_by",)
    actions = ("acknowledge",)

    @column("Severity", order="severity", label=SEVERITY_COLOURS)
    def severity_display(self, alert: Alert) -> str:
        return alert.severity

    @column("State")
    def state(self, alert: Alert) -> str:
        if alert.resolved_at is not None:
            return f"resolved {cells.ago(alert.resolved_at)}"
        return f"seen by {alert.acknowledged_by}" if alert.acknowledged_at else "open"

    @column("Since", order="opened_at")
    def since(self, alert: Alert) -> str:
        return cells.age(alert.opened_at)

    @admin.action(description="Acknowledge", permissions=["acknowledge"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        assert isinstance(request.user, User)
        changed = acknowledge(queryset, request.user)
        self.message_user(request, f"{count_of(changed, 'alert')} acknowledged.", messages.SUCCESS)

    def has_acknowledge_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("registry.change_alert")


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin[Event]):
    list_display = ("when", "severity_display", "text", "kind", "drive", "worker")
    list_filter = (
        ("severity", ChoicesDropdownFilter),
        ("worker", AutocompleteSelectFilter),
        ("drive", AutocompleteSelectFilter),
        ("at", RangeDateTimeFilter),
    )
    list_filter_submit = True
    list_select_related = ("drive", "worker")
    search_fields = ("text", "kind")
    search_help_text = f"Words of the newest {SEARCHED:,} events, a kind, or a drive's key (of all events)"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        """Searches the texts of the newest events only. Filters (drive, worker, time) reach all."""
        text = search_term.strip()
        if not text:
            return queryset, False
        if (by_key := queries.matching_key(text)) is not None:
            drives = Drive.objects.filter(by_key).order_by().values_list("pk", flat=True)[:DRIVES_SEARCHED]
            if drives or queries.whole_key(text) is not None:
                return queryset.filter(drive__in=list(drives)), False
        newest = Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        return queryset.filter(Q(kind=text) | Q(text__icontains=text, pk__gt=newest - SEARCHED)), False

    @column("When", order="id")
    def when(self, event: Event) -> str:
        return cells.age(event.at)

    @column("Severity", order="severity", label=SEVERITY_COLOURS)
    def severity_display(self, event: Event) -> str:
        return event.severity


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin[AuditEntry]):
    list_display = ("when", "actor", "text", "action", "target_display")
    list_filter = (("at", RangeDateTimeFilter),)
    list_filter_submit = True
    search_fields = ("actor", "action", "text", "target")

    @column("When", order="id")
    def when(self, entry: AuditEntry) -> str:
        return cells.age(entry.at)

    @column("What")
    def target_display(self, entry: AuditEntry) -> str:
        text = entry.target
        return cells.mono(text[:10] + "…", text) if len(text) > 12 else text or cells.NOTHING


@admin.register(Sample)
class SampleAdmin(ReadOnlyAdmin[Sample]):
    list_display = ("at", "scope", "subject", "metric", "span", "count", "average", "minimum", "maximum")
    list_filter = (("scope", ChoicesDropdownFilter), "span")
    search_fields = ("metric",)
