"""`/api/v1/docs`: the OpenAPI document for people. Plain HTML, public as the document itself."""

from __future__ import annotations

from functools import cache

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from ..reads.frame import theme_of
from .app import api
from .reference import Reference, reference


@cache
def _reference() -> Reference:
    return reference(api.get_openapi_schema(path_prefix=reverse("dashboard:api:api-root")))


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Every operation and shape, rendered from the document."""
    context = {"reference": _reference(), "theme": theme_of(request)}
    return render(request, "dashboard/api.html", context)
