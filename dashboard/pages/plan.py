"""`/plan/`: what the next plan would do."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from seederfarm.registry.services.next_plan import Unavailable, recent

from ..reads.plan import shown
from .access import form_page


@require_safe
@form_page("registry.change_drive")
def plan(request: HttpRequest) -> HttpResponse:
    """Show operators a dry run that is some seconds old at most. Nothing is changed."""
    try:
        seen = shown(recent())
    except Unavailable:
        response = render(request, "dashboard/plan.html", {"seen": None}, status=503)
        response.headers["Retry-After"] = "5"
        return response
    return render(request, "dashboard/plan.html", {"seen": seen})
