"""A strict Content-Security-Policy on every page, and the strictest that the admin works under on its own."""

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
ADMIN_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Nothing from other origins. Unfold's pages have inline scripts, and Alpine compiles what their attributes
say."""


class FilesOrigin(InLoop):
    """The origin of files has nothing else: no page, no login, no API, and so nothing to steal."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        origin = settings.FARM.files_origin
        if not origin or request.get_host() != origin.partition("://")[2] or _FILES.match(request.path):
            return None
        return HttpResponse("There are only files here.\n", status=404, content_type="text/plain")


class ContentPolicy(InLoop):
    """Adds the Content-Security-Policy of the pages, or that of the admin, except to answers with one of
    their own."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> Any:
        is_admin = request.path.startswith(reverse("admin:index"))
        response.headers.setdefault("Content-Security-Policy", ADMIN_POLICY if is_admin else POLICY)
        return response
