"""Sources of keys."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from ..forms import SourceForm
from ..models import Source
from ..services import record_audit
from ..services.log import count_of
from ..services.sources import accept_removals
from ..urls import without_secrets
from . import cells
from .base import FarmAdmin, button, column


@admin.register(Source)
class SourceAdmin(FarmAdmin[Source]):
    form = SourceForm
    list_display = ("name", "kind", "state_display", "keys", "last", "next", "error_display")
    list_filter = (("kind", ChoicesDropdownFilter), "enabled")
    search_fields = ("name", "location")
    autocomplete_fields = ("tags",)
    readonly_fields = (
        "state_display",
        "last_at",
        "last_success_at",
        "last_error",
        "failures",
        "listed",
        "refused",
        "held",
        "held_because",
        "next_at",
    )
    fieldsets = (
        ("", {"fields": ("name", "kind", "location", "enabled")}),
        (
            "How it is read",
            {
                "fields": (
                    "mapping",
                    "removals_url",
                    "headers",
                    "every",
                    "remove_unlisted",
                    "shrink",
                    "remove_last_copies",
                )
            },
        ),
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
    # of an existing source
    last_reading = ("What happened", {"fields": readonly_fields})
    actions = ("read_now", "accept_removals", "enable", "disable")
    actions_detail = ("read_one", "accept_one")

    def get_form(
        self, request: HttpRequest, obj: Source | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """File sources are for superusers: they read files with the farm's own rights."""
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.may_read_files = bool(getattr(request.user, "is_superuser", False))
        return form

    secret_fields = frozenset({"headers", "location", "removals_url", "mapping", "state"})
    without_secrets_of = MappingProxyType(
        {"location": "place_display", "removals_url": "removals_display", "headers": "headers_display"}
    )
    """Fields shown instead of those that may hold a secret, to users who may not change them."""

    def hidden_from(self, request: HttpRequest) -> frozenset[str]:
        return frozenset() if self.has_change_permission(request) else self.secret_fields

    def get_search_fields(self, request: HttpRequest) -> Any:
        hidden = self.hidden_from(request)
        return [name for name in super().get_search_fields(request) if name not in hidden]

    def get_fieldsets(self, request: HttpRequest, obj: Source | None = None) -> Any:
        first, *others = super().get_fieldsets(request, obj)
        found: list[Any] = [first, *others] if obj is None else [first, self.last_reading, *others]
        if obj is None or self.has_change_permission(request, obj):
            return found
        shown = self.without_secrets_of
        return [(title, {"fields": [shown.get(n, n) for n in part["fields"]]}) for title, part in found]

    def get_readonly_fields(self, request: HttpRequest, obj: Source | None = None) -> Any:
        return (*super().get_readonly_fields(request, obj), *self.without_secrets_of.values())

    @column("Location")
    def place_display(self, source: Source) -> str:
        return without_secrets(source.location)

    @column("Removals endpoint")
    def removals_display(self, source: Source) -> str:
        return without_secrets(source.removals_url) or cells.NOTHING

    @column("Headers")
    def headers_display(self, source: Source) -> str:
        return ", ".join(f"{name}: (hidden)" for name in source.headers or {}) or cells.NOTHING

    def get_queryset(self, request: HttpRequest) -> QuerySet[Source]:
        return super().get_queryset(request).annotate(entry_count=Count("entries"))

    @column(
        "State",
        order="enabled",
        label={"works": "success", "fails": "danger", "held": "warning", "off": "warning", "new": "info"},
    )
    def state_display(self, source: Source) -> str:
        if not source.enabled:
            return "off"
        if source.failures:
            return "fails"
        if source.held:
            return "held"
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

    @column("Trouble")
    def error_display(self, source: Source) -> str:
        if source.last_error or not source.held:
            return source.last_error or cells.NOTHING
        return f"{count_of(source.held, 'removal')} held: {source.held_because}"

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

    @admin.action(description="Accept removals", permissions=["change"])
    def accept_removals(self, request: HttpRequest, queryset: QuerySet[Source]) -> HttpResponse | None:
        chosen = list(queryset.filter(held__gt=0))
        if not chosen:
            self.message_user(request, "Nothing is held.", messages.INFO)
            return None
        if "apply" not in request.POST:
            held = count_of(sum(source.held for source in chosen), "key")
            text = (
                f"Remove {held} that these lists do not have any more? Drives that another source lists, or "
                "a person added, stay."
            )
            return self.confirm(
                request,
                queryset,
                action="accept_removals",
                title="Accept removals",
                text=text,
                button="Remove",
                warnings=[f"{source}: {source.held_because}" for source in chosen],
                danger=True,
            )
        results = [accept_removals(source.pk, request.user) for source in chosen]
        text = f"{count_of(sum(result.removed for result in results), 'drive')} will be removed."
        self.message_user(request, text, messages.SUCCESS)
        if kept := sum(result.kept for result in results):
            text = f"{count_of(kept, 'drive')} kept: the farm has the only complete copies."
            self.message_user(request, text, messages.WARNING)
        return None

    @button("Accept removals", "delete_sweep")
    def accept_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.act_on_one(request, object_id, "accept_removals", title="Accept removals")

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
            record_audit(request.user, "source.enable" if enabled else "source.disable", f"{verb} {source}")
        state = "on" if enabled else "off"
        self.message_user(request, f"{count_of(len(chosen), 'source')} switched {state}.", messages.SUCCESS)
