"""Refusals of the gateway, as a page, JSON or plain text: whatever the client understands."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from workers.gateway.protocol import Code

from ..reads.frame import theme_of
from .client import CannotRead

STATUSES: Final[Mapping[Code, tuple[int, str]]] = {
    "busy": (503, "Too much is read right now"),
    "encrypted": (403, "This drive is encrypted"),
    "invalid": (502, "This cannot be read"),
    "missing": (404, "There is nothing at this path"),
    "no_drive": (404, "This key has no files"),
    "rewritten": (503, "The drive was rewritten meanwhile"),
    "too_large": (422, "Too many files for one ZIP"),
    "unavailable": (503, "This cannot be read now"),
    "version": (404, "This version is not known"),
}


FRAGMENT: Final = "fragment"
"""Parameter of the part of a page that is loaded into another."""


class Refused(Exception):
    """Ends a request with a status, a title and a sentence."""

    def __init__(
        self, status: int, title: str, text: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.title = title
        self.text = text
        self.headers = dict(headers or {})

    @classmethod
    def by_gateway(cls, error: CannotRead) -> Refused:
        """The answer to an error of the gateway process; `Retry-After` where trying again helps."""
        status, title = STATUSES[error.code]
        retry = {"Retry-After": str(error.retry)} if error.retry else {}
        return cls(status, title, str(error), headers=retry)

    def response(self, request: HttpRequest) -> HttpResponse:
        """Return the answer. It renders a page: call it outside the event loop."""
        if wants_json(request):
            body = {"status": self.status, "title": self.title, "detail": self.text}
            response: HttpResponse = JsonResponse(body, status=self.status)
        elif FRAGMENT in request.GET:
            part = {"title": self.title, "text": self.text}
            response = render(request, "dashboard/gateway/_refused.html", part, status=self.status)
            response.headers["X-Fragment"] = "1"
        elif wants_page(request):
            name = HTTPStatus(self.status).phrase.lower()
            shown = {"status": self.status, "phrase": name, "title": self.title, "text": self.text}
            context = {**shown, "theme": theme_of(request)}
            response = render(request, "dashboard/gateway/refused.html", context, status=self.status)
        else:
            text = f"{self.title}. {self.text}\n"
            response = HttpResponse(text, status=self.status, content_type="text/plain; charset=utf-8")
        response.headers["Cache-Control"] = "no-store"
        for header, value in self.headers.items():
            response.headers[header] = value
        return response


def wants_page(request: HttpRequest) -> bool:
    """Whether the client is a browser, which gets a page, and not a line of text."""
    return "text/html" in request.headers.get("Accept", "")


def wants_json(request: HttpRequest) -> bool:
    """Whether a listing is wanted as JSON: `?format=json`, or an `Accept` that names it."""
    chosen = request.GET.get("format")
    return chosen == "json" or (chosen is None and request.accepts("application/json") and not _any(request))


def _any(request: HttpRequest) -> bool:
    """Whether pages, or anything at all, would do as well."""
    accepted = request.headers.get("Accept", "*/*")
    return "text/html" in accepted or "*/*" in accepted
