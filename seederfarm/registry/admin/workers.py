"""Workers: state, approval, draining, retiring."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.widgets import UnfoldBooleanSwitchWidget

from workers.units import format_duration

from .. import queries, services
from ..forms import RateField, SizeField
from ..models import Worker
from ..services.drains import drain_progress
from ..services.log import count_of
from . import cells
from .base import FarmAdmin, button, column


class RetireForm(forms.Form):
    force = forms.BooleanField(
        label="Even if it has blocks that no other worker has",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Those drives are then downloaded again from other peers, if any has them.",
    )


@admin.register(Worker)
class WorkerAdmin(FarmAdmin[Worker]):
    list_display = ("name", "state_display", "online", "zone", "copies_display", "room", "rates", "software")
    list_filter = (("state", ChoicesDropdownFilter), "zone", "paused")
    search_fields = ("name", "zone", "node_id", "note")
    search_help_text = "Name, place, id or note"
    secret_fields = frozenset({"broker_hash"})
    amounts = MappingProxyType(
        {
            "quota_bytes": SizeField,
            "upload_limit": RateField,
            "download_limit": RateField,
            "blind_max_bytes": SizeField,
        }
    )
    readonly_fields = (
        "node_id_display", "state_display", "drain_display", "online", "room", "copies_display",
        "host_display", "engine_display", "assignment_display", "messages_display", "software", "enrolled_at",
    )  # fmt: skip
    fieldsets = (
        (
            "",
            {
                "fields": (
                    "node_id_display",
                    "state_display",
                    "drain_display",
                    "online",
                    "copies_display",
                    "room",
                )
            },
        ),
        ("What it is", {"fields": ("name", "zone", "tags", "note")}),
        ("What it may", {"fields": ("weight", "quota_bytes", ("upload_limit", "download_limit"), "paused")}),
        (
            "What apps may, if it is a blind peer",
            {"fields": ("blind_clients", "blind_trusted", ("blind_max_cores", "blind_max_bytes"))},
        ),
        (
            "What it reported",
            {
                "fields": (
                    "host_display",
                    "engine_display",
                    "assignment_display",
                    "messages_display",
                    "software",
                    "enrolled_at",
                )
            },
        ),
    )
    actions = ("activate", "drain", "retire", "pause", "resume", "delete_retired")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        return queries.with_load(super().get_queryset(request)).select_related("assignment")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # workers join with an enrolment token

    def has_delete_permission(self, request: HttpRequest, obj: Worker | None = None) -> bool:
        return False  # retire it; one without copies can then be deleted

    def save_model(
        self, request: HttpRequest, obj: Worker, form: forms.ModelForm[Worker], change: bool
    ) -> None:
        obj.save(
            update_fields=[name for name in form.changed_data if name in form.fields]
        )  # not what is reported
        if form.changed_data:
            services.workers_edited([obj])

    # --- columns ------------------------------------------------------------------------------------------

    @column(
        "State",
        order="state",
        label={
            "active": "success",
            "pending": "info",
            "draining": "warning",
            "retired": "danger",
            "paused": "warning",
        },
    )
    def state_display(self, worker: Worker) -> str:
        return "paused" if worker.paused and worker.state == Worker.State.ACTIVE else worker.state

    @column("Drain")
    def drain_display(self, worker: Worker) -> str:
        if worker.state != Worker.State.DRAINING:
            return cells.NOTHING
        return str(drain_progress(worker.pk))

    @column("Last report", order="last_seen_at")
    def online(self, worker: Worker) -> SafeString | str:
        if worker.last_seen_at is None:
            return "never"
        here = worker.is_online(timezone.now())
        colour = "text-green-700 dark:text-green-400" if here else "text-red-700 dark:text-red-400"
        return format_html('<span class="{}">●</span> {}', colour, cells.age(worker.last_seen_at))

    @column("Copies")
    def copies_display(self, worker: Worker) -> SafeString:
        complete, copies = getattr(worker, "complete", 0), getattr(worker, "copies", 0)
        url = reverse("admin:registry_replica_changelist") + f"?worker__id__exact={worker.pk}"
        text = f"{complete:,}" if complete == copies else f"{complete:,} of {copies:,}"
        return format_html('<a href="{}" class="underline whitespace-nowrap">{} complete</a>', url, text)

    @column("Room", order="free_bytes")
    def room(self, worker: Worker) -> SafeString | str:
        used, capacity = worker.used_bytes, worker.quota_bytes or worker.capacity_bytes
        if used is None:
            return cells.NOTHING
        if not capacity:
            return f"{cells.size(used)} used, {cells.size(worker.free_bytes)} free"
        return cells.bar(used / capacity, f"{cells.size(used)} of {cells.size(capacity)}")

    @column("Traffic")
    def rates(self, worker: Worker) -> SafeString | str:
        up, down = worker.engine.get("up_per_second"), worker.engine.get("down_per_second")
        if up is None or down is None:
            return cells.NOTHING
        return format_html(
            '<span class="whitespace-nowrap">↑ {}/s</span> <span class="whitespace-nowrap">↓ {}/s</span>',
            cells.size(int(up)), cells.size(int(down)),
        )  # fmt: skip

    @column("Worker id")
    def node_id_display(self, worker: Worker) -> SafeString:
        return cells.mono(worker.node_id)

    @column("Host")
    def host_display(self, worker: Worker) -> str:
        host = worker.host
        if not host:
            return "nothing yet"
        memory = f"{cells.size(host.get('memory_used_bytes'))} of {cells.size(host.get('memory_bytes'))}"
        return (
            f"CPU {host.get('cpu_percent', 0):.0f}% of {host.get('cores', '?')} cores, "
            f"load {host.get('load', 0):.2f}, memory {memory}, "
            f"disk {cells.size(host.get('disk_free_bytes'))} free of "
            f"{cells.size(host.get('disk_bytes'))}, up {format_duration(host.get('uptime', 0))}"
        )

    @column("Engine")
    def engine_display(self, worker: Worker) -> str:
        engine = worker.engine
        if not engine:
            return "nothing yet"
        state = "running" if engine.get("running") else "NOT RUNNING"
        if engine.get("hung"):
            state = "HUNG"
        reach = {True: "behind a firewall", False: "reachable", None: "reachability unknown"}
        return (
            f"{state}, {count_of(engine.get('connections', 0), 'connection')}, "
            f"{count_of(engine.get('restarts', 0), 'restart')}, "
            f"{count_of(engine.get('shards', 1), 'shard')}, "
            f"memory {cells.size(engine.get('rss_bytes'))}, {reach[engine.get('firewalled')]}"
        )

    @column("Assignment")
    def assignment_display(self, worker: Worker) -> str:
        assignment = getattr(worker, "assignment", None)
        if assignment is None:
            return "none yet"
        if worker.assignment_version != assignment.version:
            return f"has version {worker.assignment_version}, should have {assignment.version}"
        if worker.assignment_digest != assignment.digest:
            return f"has version {assignment.version}, but not its content"
        return f"version {assignment.version}, as it should be"

    @column("Refused messages")
    def messages_display(self, worker: Worker) -> str:
        if not worker.refused:
            return "none"
        return f"{worker.refused:,}, the last one: {worker.refused_reason}"

    # --- actions ------------------------------------------------------------------------------------------

    @admin.action(description="Approve / activate", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[Worker]) -> None:
        self._do(request, queryset, services.activate, "active now", "All were active already.")

    @admin.action(description="Drain", permissions=["change"])
    def drain(self, request: HttpRequest, queryset: QuerySet[Worker]) -> None:
        what = "draining: others take over, then it can be retired"
        self._do(request, queryset, services.drain, what, "None was active, so nothing changed.")

    @admin.action(description="Pause", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Worker]) -> None:
        changed = services.set_paused(queryset, True, request.user)
        self._show_result(request, changed, "paused", "All were paused already.")

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Worker]) -> None:
        changed = services.set_paused(queryset, False, request.user)
        self._show_result(request, changed, "resumed", "None was paused.")

    @admin.action(description="Retire…", permissions=["change"])
    def retire(self, request: HttpRequest, queryset: QuerySet[Worker]) -> HttpResponse | None:
        form = RetireForm(request.POST if "apply" in request.POST else None)
        if form.is_valid():
            result = services.retire(queryset, request.user, force=form.cleaned_data["force"], confirmed=True)
            if result.retired:
                text = f"{count_of(result.retired, 'worker')} retired: their messages are refused now."
                self.message_user(request, text, messages.SUCCESS)
            for item in result.guarded:
                self.message_user(request, f"{item.worker} was not retired: {item.why}.", messages.WARNING)
            return None
        effects = [services.retirement_of(worker) for worker in queryset[:50]]
        return self.confirm(
            request,
            queryset,
            action="retire",
            title="Retire workers",
            text=f"Retire {count_of(queryset.count(), 'worker')} for good? Their copies count no more.",
            button="Retire",
            form=form,
            warnings=[
                f"{effect.worker}: {effect.why}."
                + (f" Last copies: {effect.named}." if effect.drives else "")
                for effect in effects
                if effect.why
            ],
            danger=True,
        )

    @admin.action(description="Delete retired", permissions=["change"])
    def delete_retired(self, request: HttpRequest, queryset: QuerySet[Worker]) -> None:
        changed = services.delete_retired(queryset, request.user)
        self._show_result(request, changed, "deleted", "Only retired workers can be deleted.")

    actions_detail = ("activate_one", "drain_one", "retire_one")

    @button("Activate", "check")
    def activate_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        text = "Give it copies to keep? That approves one that waits, and takes back a drain."
        return self.act_on_one(request, object_id, "activate", title="Activate", text=text)

    @button("Drain", "output")
    def drain_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        text = "Have others take over what it keeps? It serves its copies until they are complete elsewhere."
        return self.act_on_one(request, object_id, "drain", title="Drain", text=text)

    @button("Retire", "block")
    def retire_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.act_on_one(request, object_id, "retire", title="Retire")

    def _do(
        self,
        request: HttpRequest,
        queryset: QuerySet[Worker],
        service: Callable[[QuerySet[Worker], services.Actor], int],
        what: str,
        nothing: str,
    ) -> None:
        self._show_result(request, service(queryset, request.user), what, nothing)

    def _show_result(self, request: HttpRequest, changed: int, what: str, nothing: str) -> None:
        if changed:
            self.message_user(request, f"{count_of(changed, 'worker')} {what}.", messages.SUCCESS)
        else:
            self.message_user(request, nothing, messages.INFO)
