"""Bounds requests to the API and turns errors that Django makes itself into problems; no HTML, no cookies."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from seederfarm.registry.middleware import InLoop

from .problems import MEDIA_TYPE, problem

PREFIX: Final = "/api/"
MAX_BODY: Final = 1 << 20
"""Bytes of the body of a request: 10,000 keys. Ours."""
DETAILS: Final = {
    400: "Host, path or body are malformed.",
    404: "No operation has this address, or the key in it is not whole. /api/v1/openapi.json lists all.",
    405: "The header Allow names the methods that it takes.",
    500: "Nothing of it was carried out. The reason is in the log of the farm.",
}


class ApiAnswers(InLoop):
    """First of MIDDLEWARE but one, so that it sees what the others answer."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        if not request.path.startswith(PREFIX):
            return None
        length = request.META.get("CONTENT_LENGTH") or ""
        if "HTTP_TRANSFER_ENCODING" in request.META and not length:
            return problem(411, "Send a Content-Length; bodies of unknown length are refused.")
        if length.isascii() and length.isdigit() and (len(length) > 15 or int(length) > MAX_BODY):
            return problem(413, f"The body may have {MAX_BODY:,} bytes.")
        return None

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> Any:
        if not request.path.startswith(PREFIX):
            return response
        kind = response.get("Content-Type", "").partition(";")[0]
        if response.status_code >= 400 and kind != MEDIA_TYPE:
            status = response.status_code
            allowed = {"Allow": response["Allow"]} if response.has_header("Allow") else {}
            response = problem(status, DETAILS.get(status, ""), headers=allowed)
        response.cookies.clear()
        response.headers.setdefault("Cache-Control", "no-store")
        return response
