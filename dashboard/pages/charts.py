"""Charts of the farm and of a worker: in pages, and as JSON for the browser's drawing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone

from seederfarm.registry.models import Worker

from ..reads import charts
from ..reads.drawings import Charts
from ..reads.drawings import charts as drawn
from .access import page


def farm_charts(request: HttpRequest, now: datetime) -> Charts:
    """Return the charts of the overview, in the range that the address names."""
    name = _chosen(request, "range", charts.RANGES, charts.USUAL)
    return drawn(("rates",), charts.of_farm(name, now), name, charts.RANGES)


def worker_charts(request: HttpRequest, worker: Worker, now: datetime) -> Charts:
    """Return the charts of a worker's traffic and machine, in the range that the address names."""
    name = _chosen(request, "range", charts.RANGES, charts.USUAL)
    return drawn(("rates", "cpu", "memory"), charts.of_worker(worker, name, now), name, charts.RANGES)


def disk_charts(request: HttpRequest, worker: Worker, now: datetime) -> Charts:
    """Return the chart of a worker's room, in the range that the address names."""
    name = _chosen(request, "disk", charts.DISK_RANGES, charts.USUAL_DISK)
    return drawn(("disk",), charts.disk_of(worker, name, now), name, charts.DISK_RANGES)


@page
def farm(request: HttpRequest) -> HttpResponse:
    """`?range=24h`: what all workers served and received, as JSON."""
    name = _chosen(request, "range", charts.RANGES, charts.USUAL)
    return _json(charts.of_farm(name, timezone.now()))


@page
def worker(request: HttpRequest, node_id: str) -> HttpResponse:
    """`?disk=90d`: its room; `?range=24h`: the others, as JSON."""
    found, now = get_object_or_404(Worker, node_id=node_id), timezone.now()
    if "disk" in request.GET:
        name = _chosen(request, "disk", charts.DISK_RANGES, charts.USUAL_DISK)
        return _json(charts.disk_of(found, name, now))
    return _json(charts.of_worker(found, _chosen(request, "range", charts.RANGES, charts.USUAL), now))


def _chosen(request: HttpRequest, parameter: str, known: Mapping[str, Any], usual: str) -> str:
    name = request.GET.get(parameter, "")
    return name if name in known else usual


def _json(plots: Mapping[str, charts.Plot]) -> HttpResponse:
    return JsonResponse({name: plot.as_json() for name, plot in plots.items()})
