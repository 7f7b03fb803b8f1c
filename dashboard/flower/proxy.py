"""`/flower/`: passes requests to look on to Flower, and nothing that changes anything.

Flower requires a password that only this process sends. What it answers is of the
origin of these pages, so a policy bounds the scripts in it: its own files, and one line that it has inline.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import httpcore
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.utils.encoding import iri_to_uri
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from seederfarm.registry.roles import SEE_FLOWER

from ..reads.frame import theme_of

log = logging.getLogger(__name__)

PAGES: Final = re.compile(r"|workers|worker/[^/]+|tasks|task/[^/]+|broker|static/(?!.*\.\.)[\w./-]+")
"""What is passed on, below `/flower/`. Not the API, the metrics, the logins."""
DATATABLE: Final = "tasks/datatable"
"""A list that its pages ask for by POST. It reads only."""
SENT: Final = ("accept", "content-type", "if-none-match", "if-modified-since", "x-requested-with")
RETURNED: Final = ("content-type", "etag", "last-modified", "cache-control", "vary")
"""Headers that are passed on. No others: no cookies, no login, nothing of one connection."""
MAX_ASKED: Final = 64 << 10
"""Bytes of the query, and of the body of a POST. Ours."""
MAX_ANSWER: Final = 64 << 20
"""Bytes of an answer: the list of 10,000 tasks has a few. Ours."""
MAX_AT_ONCE: Final = 16
"""Requests that are passed on at a time. Ours."""
TIMEOUTS: Final = {"connect": 2.0, "write": 2.0, "read": 20.0}
"""Seconds; `read` without a byte of an answer. Flower waits for workers, a second for each kind of
question."""
INLINE: Final = b"\nvar autorefresh = 1;\n"
"""The script in Flower's list of workers."""
POLICY: Final = (
    "default-src 'self'; "
    f"script-src 'self' 'sha256-{base64.b64encode(hashlib.sha256(INLINE).digest()).decode()}'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class TooLarge(Exception):
    """Flower's answer has more than MAX_ANSWER bytes."""


_running: set[object] = set()
"""Requests that are passed on now."""


@csrf_exempt  # nothing is changed by it
@require_http_methods(["GET", "HEAD", "POST"])
async def flower(request: HttpRequest, path: str = "") -> HttpResponseBase:
    """302 without a login, 403 without the right, 404 for what is not passed on, 502 if Flower is away."""
    user = await request.auser()
    if not user.is_authenticated:
        return redirect_to_login(reverse("dashboard:flower"))
    if not await user.ahas_perm(SEE_FLOWER):
        raise PermissionDenied  # its page reads the session, which no coroutine may do
    if not (path == DATATABLE if request.method == "POST" else PAGES.fullmatch(path)):
        return HttpResponse("Flower has no such page here.\n", status=404, content_type="text/plain")
    query = request.META.get("QUERY_STRING", "")
    if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_ASKED or len(query) > MAX_ASKED:
        return HttpResponse("The request is too large.\n", status=413, content_type="text/plain")
    if len(_running) >= MAX_AT_ONCE:
        return HttpResponse("Too much is asked of Flower at once.\n", status=503, content_type="text/plain")
    return await _passed_on(request, quote(request.path, safe="/@:") + iri_to_uri(query and f"?{query}"))


async def _passed_on(request: HttpRequest, target: str) -> HttpResponseBase:
    mine = object()
    _running.add(mine)
    stack = AsyncExitStack()
    stack.callback(_running.discard, mine)
    try:
        pool = await stack.enter_async_context(httpcore.AsyncConnectionPool(max_connections=1, retries=0))
        answer = await stack.enter_async_context(
            pool.stream(
                request.method or "GET",
                httpcore.URL(
                    scheme="http",
                    host=settings.FARM.flower_host,
                    port=settings.FARM.flower_port,
                    target=target,
                ),
                headers=_headers(request),
                content=request.body if request.method == "POST" else None,
                extensions={"timeout": TIMEOUTS},
            )
        )
    except (OSError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
        await stack.aclose()
        log.warning("Flower does not answer: %s", error or type(error).__name__)
        return _away(request)
    except BaseException:
        await stack.aclose()
        raise
    return _response(answer, stack)


def _headers(request: HttpRequest) -> list[tuple[bytes, bytes]]:
    """Those of the browser that matter, and the login. Raises OSError if there is none."""
    login = (settings.FARM.home / "flower_secret").read_bytes().strip()
    given = [(name.encode(), request.headers.get(name, "").encode("latin-1", "replace")) for name in SENT]
    return [
        (b"host", b"127.0.0.1"),
        (b"authorization", b"Basic " + base64.b64encode(login)),
        *((name, value) for name, value in given if value),
    ]


def _response(answer: httpcore.Response, stack: AsyncExitStack) -> HttpResponseBase:
    response = StreamingHttpResponse(_body(answer, stack), status=answer.status)
    del response.headers["Content-Type"]
    for name, value in answer.headers:
        known = name.decode("latin-1").lower()
        if known in RETURNED:
            response.headers[known.title()] = value.decode("latin-1")
    if answer.status in (401, 403):  # our login was refused: the browser must not be asked for one
        response.status_code = HTTPStatus.BAD_GATEWAY
    response.headers["Content-Security-Policy"] = POLICY
    if "Cache-Control" not in response.headers:
        patch_cache_control(response, private=True, no_cache=True)
    return response


async def _body(answer: httpcore.Response, stack: AsyncExitStack) -> AsyncIterator[bytes]:
    """The answer as it comes. Ends the connection with it, or when the browser has gone."""
    async with stack:
        size = 0
        async for part in answer.aiter_stream():
            size += len(part)
            if size > MAX_ANSWER:
                raise TooLarge
            yield part


def _away(request: HttpRequest) -> HttpResponse:
    title = "Flower does not answer"
    text = "It starts with the farm, and is restarted when it ends. Try again soon."
    shown = {"status": 502, "phrase": "bad gateway", "title": title, "text": text, "theme": theme_of(request)}
    return render(request, "dashboard/error.html", shown, status=502)
