"""`GET changes`: events and changes of states as they happen, one JSON object a line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from time import monotonic
from typing import Any, Final
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.db import DatabaseError
from django.http import HttpRequest, StreamingHttpResponse
from ninja import Query, Router, Schema
from pydantic import Field
from pydantic.json_schema import models_json_schema

from ...streaming import release
from ..access import READ, Caller, caller_of
from ..paging import Text, wrong
from ..problems import ProblemError, documented, later
from .feed import Feed, Full, Places, Reads
from .rows import ChangeShape, bounds, check, heartbeat, page
from .stable import Position

log = logging.getLogger(__name__)

REFERENCE: Final = "#/components/schemas/"
KIND: Final = "application/x-ndjson"
BEAT: Final = 15.0
"""Seconds of silence after which a heartbeat is sent."""
CHECKED: Final = 60.0
"""Seconds after which the token is checked again."""
STALLED: Final = 60.0
"""Seconds after which a reader that takes nothing is dropped. Ours."""
LASTS: Final = 3600.0
"""Seconds that a stream lasts; the reader goes on with another. Ours."""
REST: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

router: Final = Router(tags=["history"])
places: Final = Places()
_feeds: WeakKeyDictionary[asyncio.AbstractEventLoop, Feed] = WeakKeyDictionary()
"""One for each event loop: a server has one."""


class ChangesQuery(Schema):
    """Where the stream begins."""

    after: Text | None = Field(
        None, max_length=40, description="`id` of the last line that was read. Without it: what is new."
    )


LINE: Final = {"$ref": f"{REFERENCE}ChangeShape"}
SHAPES: Final[dict[str, Any]] = models_json_schema(
    [(ChangeShape, "serialization")], ref_template=REFERENCE + "{model}"
)[1]["$defs"]
"""Shapes of lines, which no other operation has."""


def feed() -> Feed:
    """Return the feed of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _feeds.get(loop)
    if found is None:
        found = _feeds[loop] = Feed(Reads(sync_to_async(check), sync_to_async(page)))
    return found


@router.get(
    "/changes",
    auth=READ,
    openapi_extra={
        "responses": {
            200: {"description": "Lines, as they happen", "content": {KIND: {"schema": LINE}}},
            410: documented(410),
            503: documented(503),
        }
    },
)
def follow_changes(request: HttpRequest, query: Query[ChangesQuery]) -> Any:
    """Events and changes of states as they happen.

    Each line is a JSON object with an `id`; go on behind it with `after`. The first line is a heartbeat, and
    one comes after 15 seconds of silence. The stream ends after an hour, and when its reader takes nothing
    for a minute. 410: what follows `after` is not kept any more.
    """
    caller = caller_of(request)
    if not places.has_room_for(caller.token.pk):
        raise ProblemError(429, "The token has as many streams as it may have.", headers=later(60))
    if not places.has_room():
        raise ProblemError(503, "The farm has as many streams as it can serve.", headers=later(60))
    oldest, newest = bounds()
    start = newest if query.after is None else _position(query.after, oldest, newest)
    release()
    response = StreamingHttpResponse(lines(caller, start, newest), content_type=KIND)
    for name, value in REST.items():
        response.headers[name] = value
    return response


def _position(text: str, oldest: Position, newest: Position) -> Position:
    """Raises ProblemError: 422, or 410."""
    try:
        found = Position.read(text)
    except ValueError as error:
        raise wrong("query.after", str(error)) from None
    if any(mine > last and first for mine, first, last in zip(found, oldest, newest, strict=True)):
        raise wrong("query.after", "no line of this farm has this id yet")
    for mine, first in zip(found, oldest, strict=True):
        if mine + 1 < first or (mine and not first):
            raise ProblemError(410, "What follows this id is not kept. Read the lists, then begin anew.")
    return found


async def lines(caller: Caller, start: Position, newest: Position) -> AsyncIterator[str]:
    """The parts of the stream. It takes its place with the first part, so an unread stream has none."""
    here = feed()
    try:
        places.enter(caller.token.pk)
    except Full:
        return
    here.enter(newest)
    try:
        async with aclosing(_following(here, caller, start)) as texts:
            async for text in texts:
                with _DroppedWhenStalled():
                    yield text
    except DatabaseError as error:
        log.warning("a stream of changes ended early: %s", error)
    finally:
        here.leave()
        places.leave(caller.token.pk)


async def _following(here: Feed, caller: Caller, position: Position) -> AsyncGenerator[str, None]:
    ends, check = monotonic() + LASTS, monotonic() + CHECKED
    yield heartbeat(position)
    while monotonic() < ends:
        if monotonic() >= check:
            if not await sync_to_async(_lasts)(caller):
                return
            check = monotonic() + CHECKED
        if not position.is_before(here.stable):
            await here.wait(BEAT)
        text = ""
        if position.is_before(here.stable):
            found = await here.page(position)
            text, position = found.text, found.end
        yield text or heartbeat(position)


class _DroppedWhenStalled:
    """Cancels the task that sends a part when that takes too long."""

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._timer = asyncio.get_running_loop().call_later(STALLED, self._drop, task)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @staticmethod
    def _drop(task: asyncio.Task[Any]) -> None:
        log.info("a reader of the stream of changes took nothing for %d s: dropped", STALLED)
        task.cancel()


def _lasts(caller: Caller) -> bool:
    try:
        return caller.lasts()
    finally:
        release()
