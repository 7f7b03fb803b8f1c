"""The list of workers, and the page of one."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from seederfarm.registry.models import Worker
from seederfarm.registry.queries import with_load
from seederfarm.settings.env import COMMAND

from ..reads import minutes
from ..reads import workers as reading
from .access import page
from .charts import disk_charts, worker_charts


@page
def workers(request: HttpRequest) -> HttpResponse:
    """`/workers/`: those in the farm; retired ones with `?retired=1`."""
    retired = request.GET.get("retired") == "1"
    seen = reading.listed(timezone.now(), retired=retired)
    return render(request, "dashboard/workers.html", {"seen": seen, "retired": retired, "command": COMMAND})


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
    }
    return render(request, "dashboard/worker.html", context)
