"""`/live/?topics=…`: the event stream of a page.

Format: WHATWG HTML, server-sent events. Each event is named after its topic and carries a fragment; `beat`
carries nothing and shows that the stream lives.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from typing import Any, Final
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from seederfarm.registry.roles import VIEW

from ..streaming import release_database
from .hub import MAX_TOPICS_EACH, Full, Hub, Render, Rendered
from .topics import ROW, Fragments, known

BEAT: Final = 15.0
"""Seconds of silence after which a beat is sent."""
MAX_QUERY: Final = 4000
"""Characters of the list of topics that are read."""
LASTS: Final = 900.0
"""Seconds that a stream lasts; the browser opens another, and shows so that it is still logged in."""
RETRY: Final = 3000
"""Milliseconds after which the browser tries again."""

_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()
"""One for each event loop: a server has one."""


def hub() -> Hub:
    """The hub of the running event loop, made on first use."""
    loop = asyncio.get_running_loop()
    found = _hubs.get(loop)
    if found is None:
        found = _hubs[loop] = Hub(_renderer(Fragments()))
    return found


def _renderer(fragments: Fragments) -> Render:
    def now(topics: Collection[str], fresh: Collection[str]) -> Rendered:
        close_old_connections()
        began, waits = time.thread_time(), Waits()
        try:
            with connection.execute_wrapper(waits):
                texts = fragments.render(topics, fresh, timezone.now())
            return Rendered(texts, time.thread_time() - began + waits.seconds)
        finally:
            close_old_connections()

    return sync_to_async(now)


class Waits:
    """Adds up how long queries wait for a database that is a process of its own."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if connection.vendor == "sqlite":  # in this thread
            return execute(sql, params, many, context)
        began, mine = time.perf_counter(), time.thread_time()
        try:
            return execute(sql, params, many, context)
        finally:
            self.seconds += time.perf_counter() - began - (time.thread_time() - mine)


@require_GET
async def live(request: HttpRequest) -> HttpResponseBase:
    """The event stream: 401 without a login, 403 without a role, 400 without topics, 503 above its bounds."""
    async with hub().entering:
        user = await request.auser()
        may_look = user.is_authenticated and await user.ahas_perm(VIEW)
        await release_database()
    if not user.is_authenticated:
        return HttpResponse("log in first\n", status=401, content_type="text/plain")
    if not may_look:
        return HttpResponse("your account has no role\n", status=403, content_type="text/plain")
    topics = known(request.GET.get("topics", "")[:MAX_QUERY].split(","))[:MAX_TOPICS_EACH]
    if not topics:
        return HttpResponse("no topic\n", status=400, content_type="text/plain")
    if not hub().has_room(topics):  # a list without live rows costs less than one that polls
        topics = [topic for topic in topics if not ROW.fullmatch(topic)]
    if not topics or not hub().has_room(topics):
        return HttpResponse("too many watch already\n", status=503, content_type="text/plain")
    response = StreamingHttpResponse(_events(topics), content_type="text/event-stream; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


async def _events(topics: Collection[str]) -> AsyncIterator[str]:
    """The parts of the stream. Watching begins with the first part, so an unread stream leaves no watcher."""
    here = hub()
    try:
        watcher = here.watch(topics)
    except Full:
        return
    until = asyncio.get_running_loop().time() + LASTS
    try:
        yield f"retry: {RETRY}\n\n"
        while asyncio.get_running_loop().time() < until:
            changed = await watcher.take(BEAT)
            yield "".join(event(topic, text) for topic, text in changed.items()) or event("beat", "")
    finally:
        here.leave(watcher)


def event(name: str, text: str) -> str:
    """One event; a line of `text` is a line of data."""
    lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"event: {name}\n{lines}\n"
