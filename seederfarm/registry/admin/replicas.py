"""Copies: every drive × worker, read-only."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from .. import queries, services
from ..models import Drive, Replica, Worker
from . import cells
from .base import ReadOnlyAdmin, column
from .drives import have_of, proven_of

SEARCHED = 1000
"""Drives whose copies a search shows."""

PHASE_COLOURS = {
    "complete": "success",
    "downloading": "info",
    "error": "danger",
    "removing": "warning",
    "removed": "warning",
    "released": "warning",
}


@admin.register(Replica)
class ReplicaAdmin(ReadOnlyAdmin[Replica]):
    list_display = (
        "drive_display",
        "worker",
        "phase_display",
        "have",
        "peers",
        "reported",
        "proven",
        "error_display",
    )
    list_filter = (
        ("phase", ChoicesDropdownFilter),
        ("worker", AutocompleteSelectFilter),
        "desired",
    )
    list_select_related = ("drive", "worker")
    search_fields = ("drive__label", "drive__title", "worker__name", "error")
    search_help_text = "Drive, worker, error, or a key (or its beginning)"
    actions = ("reverify",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Replica], search_term: str
    ) -> tuple[QuerySet[Replica], bool]:
        """Finds drives and workers first: joining millions of copies takes long."""
        text = search_term.strip()
        if not text:
            return queryset, False
        drives = queries.drives_like(text, SEARCHED)
        workers = Worker.objects.filter(name__icontains=text).order_by().values_list("pk", flat=True)
        failed = Q(error__icontains=text) & ~Q(phase=Replica.Phase.COMPLETE)
        found = Q(drive__in=drives) | Q(worker__in=list(workers)) | failed
        return queryset.filter(found), False

    def has_verify_permission(self, request: HttpRequest) -> bool:
        """Proofs cost each worker reading and hashing, so they need the right to change drives."""
        return bool(request.user.has_perm("registry.change_drive"))

    @admin.action(description="Verify now", permissions=["verify"])
    def reverify(self, request: HttpRequest, queryset: QuerySet[Replica]) -> None:
        drives = Drive.objects.filter(pk__in=queryset.values("drive"))
        done = services.reverify(drives, request.user)
        self.message_user(request, done.sentence, messages.SUCCESS if done.copies else messages.WARNING)

    @column("Drive")
    def drive_display(self, replica: Replica) -> SafeString:
        drive = replica.drive
        return format_html(
            '{}<br><code class="text-xs opacity-70" title="{}">{}</code>',
            str(drive),
            drive.z32,
            drive.short_key,
        )

    @column("Phase", order="phase", label=PHASE_COLOURS)
    def phase_display(self, replica: Replica) -> str:
        return replica.phase if replica.desired else "released"

    @column("There", order="have_bytes")
    def have(self, replica: Replica) -> SafeString:
        return have_of(replica)

    @column("Reported", order="last_report_at")
    def reported(self, replica: Replica) -> str:
        return cells.age(replica.last_report_at)

    @column("Proven", order="last_proven_at")
    def proven(self, replica: Replica) -> str:
        return proven_of(replica)

    @column("Error")
    def error_display(self, replica: Replica) -> str:
        return replica.error or cells.NOTHING
