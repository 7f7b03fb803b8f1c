"""`/p/KEY/`, `/p/KEY/badge.svg` and `/p/KEY.json`: without a login, within limits, kept by caches.

A private drive and an unknown key get the same answer, after the same query.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import wraps
from typing import Final

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from seederfarm.registry.models import Drive

from ..pages.access import canonical
from .answer import Answer, answer_of
from .badge import svg_of
from .limits import wait_of

MAX_AGE: Final = 60
"""Seconds for which browsers and caches may keep an answer."""

Render = Callable[[Answer, str], tuple[str, str]]
"""Takes the address of the public page, returns body and media type."""


def _served(render: Render) -> Callable[..., HttpResponse]:
    @wraps(render)
    def view(request: HttpRequest, key: str) -> HttpResponse:
        if wait := wait_of(request):
            refused = HttpResponse("Too many requests.\n", status=429, content_type="text/plain")
            refused.headers["Retry-After"] = str(wait)
            return refused
        drive = Drive.objects.filter(key=key, public=True).first()
        if drive is None:
            raise Http404
        return _answer(request, *render(answer_of(drive, timezone.now()), _place(request, key)))

    return require_safe(canonical(view))


def _place(request: HttpRequest, key: str) -> str:
    """The whole address of the page, for other sites."""
    path = reverse("dashboard:public", kwargs={"key": key})
    origin: str = settings.FARM.public_url.rstrip("/") or f"{request.scheme}://{request.get_host()}"
    return origin + path


def _answer(request: HttpRequest, body: str, kind: str) -> HttpResponse:
    """With an ETag; 304 without a body if the browser has it."""
    response = HttpResponse(body, content_type=kind)
    etag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE}"
    response.headers["Access-Control-Allow-Origin"] = "*"  # a site may show its own drives
    kept = get_conditional_response(request, etag=etag, response=response)
    return kept if isinstance(kept, HttpResponse) else response


def _page(answer: Answer, place: str) -> tuple[str, str]:
    markdown = f"[![copies]({place}badge.svg)]({place})"
    return render_to_string(
        "dashboard/public.html", {"seen": answer, "markdown": markdown}
    ), "text/html; charset=utf-8"


def _badge(answer: Answer, place: str) -> tuple[str, str]:
    return svg_of(answer), "image/svg+xml"


def _json(answer: Answer, place: str) -> tuple[str, str]:
    return json.dumps(answer.as_json(), cls=DjangoJSONEncoder) + "\n", "application/json"


page: Final = _served(_page)
badge: Final = _served(_badge)
as_json: Final = _served(_json)
