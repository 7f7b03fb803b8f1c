"""Shows a message on the page if the broker did not accept the messages of a change."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase

from seederfarm.registry.middleware import InLoop

from .messaging import outbox

ASKING: Final = ("GET", "HEAD", "OPTIONS", "TRACE")


class UndeliveredMessageMiddleware(InLoop):
    """Shows a message on a page when tasks could not be sent. It stands after Django's messages in
    MIDDLEWARE."""

    def process_request(self, request: HttpRequest) -> None:
        if request.method not in ASKING:
            request.META["seederfarm.missed"] = outbox.watch()

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> Any:
        missed = request.META.get("seederfarm.missed")
        if isinstance(missed, outbox.UndeliveredCounter) and missed.count:
            messages.warning(request, outbox.BROKER_DOWN, fail_silently=True)
        return response
