"""Drives: the list of what the farm keeps, and the page that adds keys."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter, DropdownFilter

from .. import queries, services, stored_health
from ..forms import AddKeysForm, RemoveForm, ReplicasForm
from ..health_states import Health
from ..models import Drive, Replica, Tag
from ..services.log import count_of
from . import cells
from .base import FarmAdmin, ReadOnlyInline, button, column

SHOWN_MALFORMED = 200
"""Malformed lines that the page lists."""

HEALTH_COLOURS = {
    "safe": "success",
    "copying": "info",
    "at risk": "warning",
    "rewritten": "warning",
    "unavailable": "danger",
}


class HealthFilter(DropdownFilter):  # type: ignore[misc]
    """Filters drives by their state."""

    title = "state"
    parameter_name = "health"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*Health.choices, ("error", "a copy in error")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Drive]) -> QuerySet[Drive]:
        value = self.value()
        if value == "error":
            return queries.with_errors(queryset)
        return stored_health.in_health(queryset, value) if value in Health.values else queryset


class ReplicaInline(ReadOnlyInline):
    model = Replica
    verbose_name_plural = "Copies"
    fields = ("worker", "phase_label", "have", "peers", "reported", "proven", "error")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Replica]:
        return super().get_queryset(request).select_related("worker", "drive")

    @column("Phase")
    def phase_label(self, replica: Replica) -> str:
        return phase_of(replica)

    @column("There")
    def have(self, replica: Replica) -> SafeString:
        return have_of(replica)

    @column("Reported")
    def reported(self, replica: Replica) -> str:
        return cells.age(replica.last_report_at)

    @column("Proven", order="proven_at")
    def proven(self, replica: Replica) -> str:
        return proven_of(replica)


def phase_of(replica: Replica) -> str:
    phase = replica.get_phase_display()
    return phase if replica.desired else f"{phase} (released)"


def have_of(replica: Replica) -> SafeString:
    text = cells.size(replica.have_bytes)
    if replica.total_bytes and replica.have_blocks < replica.total_blocks:
        text += f" of {cells.size(replica.total_bytes)}"
    if replica.unavailable_blocks:
        text += ", all that is left"
    return cells.progress(replica.share, text)


def proven_of(replica: Replica) -> str:
    if replica.proof_failures:
        return f"failed {replica.proof_failures} times"
    if replica.is_proof_pending:
        return "pending"
    return cells.age(replica.last_proven_at)


@admin.register(Drive)
class DriveAdmin(FarmAdmin[Drive]):
    list_display = (
        "name",
        "kind_display",
        "copies_display",
        "size_display",
        "proven",
        "changed",
        "state_display",
        "added",
    )
    list_display_links = ("name",)
    list_filter = (
        HealthFilter,
        ("kind", ChoicesDropdownFilter),
        ("tags", AutocompleteSelectFilter),
        ("replicas__worker", AutocompleteSelectFilter),
        ("source_entries__source", AutocompleteSelectFilter),
    )
    search_fields = ("label", "title", "note")
    search_help_text = "Name, title, note, or a key (or its beginning) in any spelling"
    autocomplete_fields = ("tags", "pinned_workers", "owner")
    readonly_fields = (
        "key_display", "state_display", "copies_display", "title_display", "observed", "sources_display",
        "created_at", "updated_at",
        "recent_events",
    )  # fmt: skip
    fieldsets = (
        (
            "",
            {
                "fields": (
                    "key_display",
                    "state_display",
                    "copies_display",
                    "title_display",
                    "observed",
                    "sources_display",
                )
            },
        ),
        ("What you call it", {"fields": ("label", "tags", "kind", "owner", "note", "public")}),
        (
            "Copies",
            {
                "fields": (
                    ("replicas_min", "replicas_max"),
                    "priority",
                    "required_tags",
                    "pinned_workers",
                    "max_fork",
                    "expires_at",
                )
            },
        ),
        ("History", {"fields": ("recent_events", "created_at", "updated_at")}),
    )
    inlines = (ReplicaInline,)
    actions = (
        "pause", "resume", "reverify", "follow_forks", "quarantine_forks", "change_replicas", "remove",
    )  # fmt: skip
    date_hierarchy = None
    ordering = ("-id",)
    PLACEMENT = frozenset(("replicas_min", "replicas_max", "priority", "required_tags", "pinned_workers"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Drive]:
        return queries.with_copies(super().get_queryset(request))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Drive], search_term: str
    ) -> tuple[QuerySet[Drive], bool]:
        if (key := queries.whole_key(search_term)) is not None:
            return queryset.filter(key=key), False
        by_key = queries.matching_key(search_term)
        found, duplicates = super().get_search_results(request, queryset, search_term)
        return (found if by_key is None else found | queryset.filter(by_key)), duplicates

    def has_delete_permission(self, request: HttpRequest, obj: Drive | None = None) -> bool:
        return False  # removing is an action: the copies have to go first

    # --- columns ------------------------------------------------------------------------------------------

    @column("Name", order="label")
    def name(self, drive: Drive) -> SafeString:
        return format_html(
            '<span class="font-medium">{}</span><br><code class="text-xs opacity-70" title="{}">{}</code>',
            drive.label or drive.title or "(no name yet)",
            drive.z32,
            drive.short_key,
        )

    @column("Kind", order="kind")
    def kind_display(self, drive: Drive) -> str:
        return drive.kind or cells.NOTHING

    @column("Copies")
    def copies_display(self, drive: Drive) -> SafeString:
        complete, copies = getattr(drive, "complete", 0), getattr(drive, "copies", 0)
        minimum, maximum = drive.replicas_min, drive.replicas_max
        wanted = f"{minimum}" if minimum == maximum else f"{minimum}–{maximum}"
        colour = "text-green-700 dark:text-green-400"
        if complete < minimum:
            colour = "text-orange-700 dark:text-orange-400" if complete else "text-red-700 dark:text-red-400"
        return format_html(
            '<span class="font-medium whitespace-nowrap {}" title="{} complete, {} assigned, {} wanted">'
            "{} of {}</span>",
            colour, complete, copies, wanted, complete, wanted,
        )  # fmt: skip

    @column("Size", order="byte_length")
    def size_display(self, drive: Drive) -> str:
        return cells.nowrap(cells.size(drive.byte_length))

    @column("Proven", order="proven_at")
    def proven(self, drive: Drive) -> str:
        return cells.age(drive.proven_at)

    @column("Changed", order="observed_at")
    def changed(self, drive: Drive) -> str:
        """Since when the newest version is known."""
        return cells.age(drive.observed_at)

    @column("State", order="health_rank", label=HEALTH_COLOURS)
    def state_display(self, drive: Drive) -> str:
        return Health(drive.health).label

    @column("Added", order="created_at")
    def added(self, drive: Drive) -> str:
        return cells.age(drive.created_at)

    # --- fields -------------------------------------------------------------------------------------------

    @column("Key")
    def key_display(self, drive: Drive) -> SafeString:
        return format_html("{}<br>{}", cells.mono(drive.z32), cells.mono(drive.key))

    @column("Title")
    def title_display(self, drive: Drive) -> str:
        return drive.title or "not seen yet"

    @column("Observed")
    def observed(self, drive: Drive) -> SafeString | str:
        if drive.length is None:
            return "Nothing yet: no worker has found it."
        blocks, size, fork = count_of(drive.length, "block"), cells.size(drive.byte_length), drive.fork
        wrote = ""
        if drive.last_writer_seen_at is not None:
            wrote = format_html(", publisher last wrote {}", cells.age(drive.last_writer_seen_at))
        first = cells.age(drive.observed_at)
        return format_html("{}, {}, fork {}, first seen {}{}", blocks, size, fork, first, wrote)

    @column("Sources")
    def sources_display(self, drive: Drive) -> str:
        names = list(drive.source_entries.values_list("source__name", flat=True))
        if not names:
            return "none: added by hand"
        return ", ".join(names) + (", and added by hand" if drive.added_manually else "")

    @column("Last events")
    def recent_events(self, drive: Drive) -> SafeString | str:
        rows = [(cells.age(event.at), event.text) for event in drive.events.order_by("-at", "-id")[:15]]
        return format_html_join("", "<div>{} · {}</div>", rows) if rows else "none yet"

    # --- adding -------------------------------------------------------------------------------------------

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Many keys at once: pasted, or a file."""
        if not self.has_add_permission(request):
            return HttpResponse("You may not add keys.", status=403)
        minimum, maximum = settings.FARM.replicas
        form = AddKeysForm(
            request.POST or None,
            request.FILES or None,
            initial={"replicas_min": minimum, "replicas_max": maximum, "priority": 5},
        )
        result: services.AddResult | None = None
        if request.method == "POST" and form.is_valid():
            result = self._add(request, form)
            if not result.malformed:
                return HttpResponseRedirect(self._after_adding(result))
            wrong = "\n".join(bad.text for bad in result.malformed)
            form = AddKeysForm(initial={**form.cleaned_data, "file": None, "keys": wrong})
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": "Add keys",
            "form": form,
            "media": self.media + form.media,
            "malformed": result.malformed[:SHOWN_MALFORMED] if result else [],
            "malformed_count": len(result.malformed) if result else 0,
            "added": len(result.added) if result else 0,
            "existing": len(result.existing) if result else 0,
        }
        return TemplateResponse(request, "registry/add_keys.html", context)

    def _add(self, request: HttpRequest, form: AddKeysForm) -> services.AddResult:
        given = form.cleaned_data
        result = services.add_keys(
            form.texts,
            kind=given["kind"],
            label=given["label"],
            tags=given["tags"],
            required_tags=given["required_tags"],
            replicas=form.replicas,
            priority=given["priority"],
            actor=request.user,
        )
        if result.added:
            self.message_user(request, f"Added {count_of(len(result.added), 'key')}.", messages.SUCCESS)
        if result.skipped:
            first = result.skipped[0]
            text = f"Skipped {count_of(len(result.skipped), 'line')}: line {first.line}: {first.reason}."
            self.message_user(request, text, messages.WARNING)
        if result.existing:
            known = ", ".join(str(drive) for drive in result.existing[:5])
            more = " and others" if len(result.existing) > 5 else ""
            text = f"{count_of(len(result.existing), 'key')} known already, left unchanged: {known}{more}."
            self.message_user(request, text, messages.WARNING)
        if result.repeated:
            text = f"{count_of(result.repeated, 'line')} named a key of the list again."
            self.message_user(request, text, messages.INFO)
        return result

    def _after_adding(self, result: services.AddResult) -> str:
        drives = [*result.added, *result.existing]
        if len(drives) == 1:
            return reverse("admin:registry_drive_change", args=(drives[0].pk,))
        return reverse("admin:registry_drive_changelist")

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        stored_health.refresh([form.instance.pk])  # the form has written all columns
        if self.PLACEMENT & set(form.changed_data):
            services.mark_dirty([form.instance])
        if "max_fork" in form.changed_data:
            services.forks_decided([form.instance.pk])

    # --- bulk actions -------------------------------------------------------------------------------------

    @admin.action(description="Pause", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Drive]) -> None:
        changed = services.pause(queryset, request.user)
        self._show_result(
            request, changed, "paused: copies stay where they are", "None was active, so nothing changed."
        )

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Drive]) -> None:
        changed = services.resume(queryset, request.user)
        self._show_result(request, changed, "resumed", "All were active already.")

    @admin.action(description="Verify copies now", permissions=["change"])
    def reverify(self, request: HttpRequest, queryset: QuerySet[Drive]) -> None:
        done = services.reverify(queryset, request.user)
        self.message_user(request, done.sentence, messages.SUCCESS if done.copies else messages.WARNING)

    @admin.action(description="Follow rewritten histories", permissions=["change"])
    def follow_forks(self, request: HttpRequest, queryset: QuerySet[Drive]) -> None:
        changed = services.follow_forks(queryset, None, request.user)
        self._show_result(request, changed, "follow their publishers onto any fork", "All did so already.")

    @admin.action(description="Quarantine rewritten histories", permissions=["change"])
    def quarantine_forks(self, request: HttpRequest, queryset: QuerySet[Drive]) -> None:
        changed = services.follow_forks(queryset, 0, request.user)
        text = "keep what they have when their publishers rewrite it"
        self._show_result(request, changed, text, "All did so already.")

    @admin.action(description="Change number of copies…", permissions=["change"])
    def change_replicas(self, request: HttpRequest, queryset: QuerySet[Drive]) -> HttpResponse | None:
        first = queryset.first()
        initial = {"replicas_min": first.replicas_min, "replicas_max": first.replicas_max} if first else {}
        form = ReplicasForm(request.POST if "apply" in request.POST else None, initial=initial)
        if form.is_valid():
            changed = services.set_replicas(queryset, *form.replicas, request.user)
            self._show_result(request, changed, "changed", "All had these numbers already.")
            return None
        return self.confirm(
            request,
            queryset,
            action="change_replicas",
            title="Change number of copies",
            text=f"How many copies of {count_of(queryset.count(), 'drive')} shall the farm keep?",
            button="Change",
            form=form,
        )

    @admin.action(description="Remove from the farm…", permissions=["change"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Drive]) -> HttpResponse | None:
        form = RemoveForm(request.POST if "apply" in request.POST else None)
        if form.is_valid():
            result = services.remove(queryset, request.user, force=form.cleaned_data["force"])
            if result.removing:
                text = f"{count_of(result.removing, 'drive')} being removed: workers delete their copies now."
                self.message_user(request, text, messages.SUCCESS)
            for item in result.guarded[:10]:
                self.message_user(request, f"Kept {item.drive}: {item.why}.", messages.WARNING)
            if len(result.guarded) > 10:
                text = f"Kept {len(result.guarded) - 10:,} more for the same reason."
                self.message_user(request, text, messages.WARNING)
            return None
        return self.confirm(
            request,
            queryset,
            action="remove",
            title="Remove from the farm",
            text=f"Remove {count_of(queryset.count(), 'drive')}, and delete all copies on all workers?",
            button="Remove",
            form=form,
            danger=True,
        )

    actions_detail = ("pause_one", "resume_one", "verify_one", "remove_one")

    @button("Pause", "pause")
    def pause_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        text = "Leave the copies where they are, and place, move and release nothing?"
        return self.act_on_one(request, object_id, "pause", title="Pause", text=text)

    @button("Resume", "play_arrow")
    def resume_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        text = "Look after it again? A removal that is not finished is taken back."
        return self.act_on_one(request, object_id, "resume", title="Resume", text=text)

    @button("Verify", "verified")
    def verify_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        text = "Have every complete copy prove itself now?"
        return self.act_on_one(request, object_id, "reverify", title="Verify", text=text)

    @button("Remove", "delete")
    def remove_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.act_on_one(request, object_id, "remove", title="Remove")

    def _show_result(self, request: HttpRequest, changed: int, what: str, nothing: str) -> None:
        if changed:
            self.message_user(request, f"{count_of(changed, 'drive')} {what}.", messages.SUCCESS)
        else:
            self.message_user(request, nothing, messages.INFO)


@admin.register(Tag)
class TagAdmin(FarmAdmin[Tag]):
    list_display = ("name", "drives_with_it")
    search_fields = ("name",)

    @column("Drives")
    def drives_with_it(self, tag: Tag) -> SafeString:
        url = reverse("admin:registry_drive_changelist") + f"?tags__id__exact={tag.pk}"
        return format_html('<a href="{}" class="underline">{}</a>', url, tag.drives.count())
