"""The list of workers, and the page of one."""

from __future__ import annotations

from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone

from seederfarm.registry import services
from seederfarm.registry.models import Worker
from seederfarm.registry.queries import with_load
from seederfarm.settings.env import COMMAND

from ..reads import minutes
from ..reads import workers as reading
from .access import action, back_to, page
from .charts import disk_charts, worker_charts

CHANGE: Final = "registry.change_worker"


@page
def workers(request: HttpRequest) -> HttpResponse:
    """`/workers/`: those in the farm; retired ones with `?retired=1`."""
    retired = request.GET.get("retired") == "1"
    seen = reading.listed(timezone.now(), retired=retired)
    context = {
        "seen": seen,
        "retired": retired,
        "command": COMMAND,
        "may_act": request.user.has_perm(CHANGE) and not retired,
    }
    return render(request, "dashboard/workers.html", context)


@page
def worker(request: HttpRequest, node_id: str) -> HttpResponse:
    """The page of a worker. 404 if it never joined."""
    now = timezone.now()
    found = get_object_or_404(with_load(Worker.objects.all()), node_id=node_id)
    context = {
        "seen": reading.one(found, now),
        "worker": found,
        "charts": worker_charts(request, found, now),
        "disk": disk_charts(request, found, now),
        "measured": minutes.newest(now).of(found.node_id),
        "may_act": request.user.has_perm(CHANGE),
    }
    return render(request, "dashboard/worker.html", context)


@action(CHANGE)
def act(request: HttpRequest, node_id: str) -> HttpResponse:
    """Pause, resume, drain, and take a drain back. What deletes something is in the admin."""
    found = get_object_or_404(Worker, node_id=node_id)
    match request.POST.get("do"):
        case "drain" if found.state == Worker.State.ACTIVE and services.drain([found], request.user):
            text = f"{found.name} drains: it serves what it has until other workers have it."
        case "activate" if found.state == Worker.State.DRAINING and services.activate([found], request.user):
            text = f"{found.name} keeps its copies, and gets new ones."
        case "pause" if services.set_paused([found], True, request.user):
            text = f"{found.name} is paused: it keeps its copies and seeds none."
        case "resume" if services.set_paused([found], False, request.user):
            text = f"{found.name} seeds again."
        case _:
            text = ""
    (messages.success if text else messages.info)(request, text or "Nothing changed.")
    here = reverse("dashboard:worker", args=[node_id])
    return HttpResponseRedirect(back_to(request, here))
