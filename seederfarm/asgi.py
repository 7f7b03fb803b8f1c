"""The ASGI application: `uvicorn seederfarm.asgi:application`. Does not start while a setting is wrong."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, Final

import django
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest

from .body_limit import BodyLimit
from .settings.load import load
from .unfinished import OneLine

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seederfarm.settings.base")
load().checked()
django.setup(set_prefix=False)
logging.getLogger("uvicorn.error").addFilter(OneLine())


BODILESS: Final = ("GET", "HEAD", "OPTIONS", "TRACE")


class Handler(ASGIHandler):
    """Sends files in pieces as large as the gateway gives them."""

    chunk_size = 256 << 10

    def adapt_method_mode(
        self, is_async: bool, method: Callable[..., Any], *args: Any, **given: Any
    ) -> Callable[..., Any]:
        """Django's, but that a request without a body takes no turn of a thread to be checked."""
        adapted: Callable[..., Any] = super().adapt_method_mode(is_async, method, *args, **given)
        if not is_async or getattr(method, "__name__", "") != "process_view":
            return adapted

        async def check(request: HttpRequest, *parts: Any) -> Any:
            return method(request, *parts) if request.method in BODILESS else await adapted(request, *parts)

        return check


application = BodyLimit(Handler())
