"""Pages for errors. They query no database: it may be what failed."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from seederfarm.registry.roles import VIEW
from seederfarm.settings.env import COMMAND

from ..reads.frame import bare

TEXTS = {
    400: ("That request could not be read", "Go back and try again, from the page that you came from."),
    403: ("You may not do that", "Your account has no right to this. An administrator can give it to you."),
    404: (
        "There is nothing at this address",
        "The drive may have been removed, or the key in the address is not whole: it has 52 characters, or "
        "64 as hex digits.",
    ),
    500: (
        "The farm could not make this page",
        f"Workers seed on; nothing is lost. The reason is in the log: {COMMAND} logs web.",
    ),
}
NAMES = {400: "bad request", 403: "forbidden", 404: "not found", 500: "server error"}


def _page(request: HttpRequest, status: int) -> HttpResponse:
    title, text = TEXTS[status]
    shown = {"status": status, "phrase": NAMES[status], "title": title, "text": text}
    context: dict[str, Any] = {**shown, **bare(request)}
    return render(request, "dashboard/error.html", context, status=status)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """The page for 400. It does not quote the request."""
    return _page(request, 400)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """The page for 403. It has the logout, for accounts without a role."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or user.has_perm(VIEW):
        return _page(request, 403)
    title, text = "Your account has no role yet", "An administrator can make it a viewer, operator or admin."
    shown = {"status": 403, "phrase": "forbidden", "title": title, "text": text, "may_leave": True}
    return render(request, "dashboard/error.html", {**shown, **bare(request)}, status=403)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """The page for 404."""
    return _page(request, 404)


def failed(request: HttpRequest) -> HttpResponse:
    """The page for 500. It needs no database."""
    return _page(request, 500)


def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The page for a form without the token of this session: it is from an old page, or another site."""
    title, text = "This form is too old", "Go back, load the page again, and send it once more."
    shown = {"status": 403, "phrase": "forbidden", "title": title, "text": text, **bare(request)}
    return render(request, "dashboard/error.html", shown, status=403)
