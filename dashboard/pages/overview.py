"""The overview: the state of the farm, and what needs a person."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from seederfarm.registry.models import AlertChannel, Drive, Worker

from ..reads import farm, minutes
from .access import page
from .charts import farm_charts


@page
def overview(request: HttpRequest) -> HttpResponse:
    """The first page; of a farm without drives, the steps to begin with."""
    now = timezone.now()
    if not Drive.objects.exists():
        workers = list(Worker.objects.filter(state__in=farm.IN_FARM).order_by("enrolled_at")[:2])
        has_channel = AlertChannel.objects.exists()
        steps = {"workers": workers, "has_channel": has_channel, "done": len(workers) + has_channel}
        return render(request, "dashboard/empty.html", steps)
    seen = farm.overview(now)
    context = {"seen": seen, "charts": farm_charts(request, now), "minute": minutes.newest(now)}
    return render(request, "dashboard/overview.html", context)
