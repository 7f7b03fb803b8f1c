"""A strict Content-Security-Policy on every page but the admin's."""

from __future__ import annotations

import re
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse

from seederfarm.registry.middleware import InLoop

_FILES: Final = re.compile(r"/drives/(?:[a-z]+:/{1,2})?[^/]+/(?:files|zip)/|/static/|/livez$")
"""Paths that the origin of files has."""
POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""No inline script or style, nothing from other origins."""


class FilesOrigin(InLoop):
    """The origin of files has nothing else: no page, no login, no API, and so nothing to steal."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        origin = settings.FARM.files_origin
        if not origin or request.get_host() != origin.partition("://")[2] or _FILES.match(request.path):
            return None
        return HttpResponse("There are only files here.\n", status=404, content_type="text/plain")


class ContentPolicy(InLoop):
    """Adds the Content-Security-Policy of the pages, except to the admin and to answers with one of their
    own."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> Any:
        if not request.path.startswith(reverse("admin:index")):
            response.headers.setdefault("Content-Security-Policy", POLICY)
        return response
