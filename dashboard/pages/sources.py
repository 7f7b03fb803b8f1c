"""The list of sources."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from seederfarm.registry.models import Event

from ..reads import sources as reading
from ..reads.farm import events
from .access import page

EVENTS = 15


@page
def sources(request: HttpRequest) -> HttpResponse:
    """`/sources/`: the sources and their last events."""
    changes = events(Event.objects.filter(kind__startswith="source."), EVENTS)
    return render(
        request, "dashboard/sources.html", {"seen": reading.listed(timezone.now()), "events": changes}
    )
