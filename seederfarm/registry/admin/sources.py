"""Sources: lists that keys come from by themselves."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from ..models import Source
from ..services import record_audit
from ..services.log import count_of
from . import cells
from .base import FarmAdmin, actor_of, button, column


@admin.register(Source)
class SourceAdmin(FarmAdmin[Source]):
    list_display = ("name", "kind", "state_shown", "keys", "last", "next", "error_shown")
    list_filter = (("kind", ChoicesDropdownFilter), "enabled")
    search_fields = ("name", "location")
    autocomplete_fields = ("tags",)
    readonly_fields = (
        "state_shown",
        "last_at",
        "last_success_at",
        "last_error",
        "failures",
        "listed",
        "refused",
        "next_at",
    )
    fieldsets = (
        ("", {"fields": ("name", "kind", "location", "enabled")}),
        ("How it is read", {"fields": ("mapping", "removals_url", "headers", "every", "mirror", "force")}),
        (
            "What its keys get",
            {
                "fields": (
                    "label",
                    "tags",
                    "key_kind",
                    ("replicas_min", "replicas_max"),
                    "priority",
                    "required_tags",
                )
            },
        ),
    )
    # of one that is there already
    what_happened = ("What happened", {"fields": readonly_fields})
    actions = ("read_now", "enable", "disable")
    actions_detail = ("read_one",)

    def get_fieldsets(self, request: HttpRequest, obj: Source | None = None) -> Any:
        first, *others = super().get_fieldsets(request, obj)
        return [first, *others] if obj is None else [first, self.what_happened, *others]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Source]:
        return super().get_queryset(request).annotate(entry_count=Count("entries"))

    @column(
        "State",
        order="enabled",
        label={"works": "success", "fails": "danger", "off": "warning", "new": "info"},
    )
    def state_shown(self, source: Source) -> str:
        if not source.enabled:
            return "off"
        if source.failures:
            return "fails"
        return "works" if source.last_success_at else "new"

    @column("Keys", order="entry_count")
    def keys(self, source: Source) -> int:
        return int(getattr(source, "entry_count", 0))

    @column("Last success", order="last_success_at")
    def last(self, source: Source) -> str:
        return cells.age(source.last_success_at)

    @column("Next", order="next_at")
    def next(self, source: Source) -> str:
        return cells.age(source.next_at) if source.enabled else cells.NOTHING

    @column("Error")
    def error_shown(self, source: Source) -> str:
        return source.last_error or cells.NOTHING

    @admin.action(description="Read now", permissions=["change"])
    def read_now(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        ids = list(queryset.values_list("pk", flat=True))
        read = Source.objects.filter(pk__in=ids, enabled=True).update(next_at=None)
        if read:
            text = f"{count_of(read, 'source')} will be read within a few seconds."
            self.message_user(request, text, messages.SUCCESS)
        if off := len(ids) - read:
            text = f"{count_of(off, 'source')} left alone, being switched off."
            self.message_user(request, text, messages.WARNING)

    @button("Read now", "refresh")
    def read_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        text = "Read it within a few seconds, whether its time has come or not?"
        return self.act_on_one(request, object_id, "read_now", title="Read now", text=text)

    @admin.action(description="Switch on", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        self._switch(request, queryset, True)

    @admin.action(description="Switch off", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        self._switch(request, queryset, False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Source], enabled: bool) -> None:
        chosen = list(queryset.filter(enabled=not enabled))
        Source.objects.filter(pk__in=[source.pk for source in chosen]).update(enabled=enabled)
        for source in chosen:
            verb = "Switched on" if enabled else "Switched off"
            record_audit(
                actor_of(request), "source.enable" if enabled else "source.disable", f"{verb} {source}"
            )
        state = "on" if enabled else "off"
        self.message_user(request, f"{count_of(len(chosen), 'source')} switched {state}.", messages.SUCCESS)
