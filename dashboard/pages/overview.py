"""The overview: the state of the farm, and what needs a person."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from seederfarm.registry.models import Drive, Worker

from ..reads import charts, farm
from .access import page


@page
def overview(request: HttpRequest) -> HttpResponse:
    """The first page; of a farm without drives, the steps to begin with."""
    now = timezone.now()
    if not Drive.objects.exists():
        workers = Worker.objects.filter(state__in=farm.IN_FARM).order_by("enrolled_at")
        return render(request, "dashboard/empty.html", {"workers": list(workers[:2])})
    seen = farm.overview(now)
    return render(request, "dashboard/overview.html", {"seen": seen, "chart": charts.rates(now)})
