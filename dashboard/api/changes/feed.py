"""Shares the work of a process's streams: one check of the database a second while there are any, and pages.

Streams that are at the same position get the same page, read once. A stream holds one page at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from .rows import CHECKED_IDS, Page
from .stable import Position, Seen, Stable

log = logging.getLogger(__name__)

TICK: Final = 1.0
"""Seconds between two checks of the database."""
REST: Final = 15.0
"""A check is followed by a rest of this many times its own length at least. Ours."""
MAX_STREAMS: Final = 100
"""Streams of all tokens. Ours."""
MAX_OF_TOKEN: Final = 4
"""Streams of one token. Ours."""
KEPT_PAGES: Final = 8
"""Pages that are kept for other streams: some 300 kB each at most. Ours."""
READING: Final = 2
"""Pages that are read at once: streams that go on from long ago leave connections for others. Ours."""


class Reads(NamedTuple):
    """How the database is read."""

    check: Callable[[Position], Awaitable[tuple[Seen, Seen]]]
    page: Callable[[Position, Position], Awaitable[Page]]


class Full(Exception):
    """The bound on streams is reached."""


class Places:
    """Streams of all event loops of a process."""

    def __init__(self) -> None:
        self._of_token: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._of_token.total()

    def has_room(self) -> bool:
        """Whether one more stream may begin."""
        return len(self) < MAX_STREAMS

    def has_room_for(self, token: int) -> bool:
        """Whether this token may have one more stream."""
        return self._of_token[token] < MAX_OF_TOKEN

    def enter(self, token: int) -> None:
        """Take a place for a stream of this token. Raises Full."""
        if not self.has_room() or not self.has_room_for(token):
            raise Full
        self._of_token[token] += 1

    def leave(self, token: int) -> None:
        self._of_token[token] -= 1
        self._of_token += Counter()  # without those that have none


class Feed:
    """The checks and pages that streams of one event loop share."""

    def __init__(self, reads: Reads, *, tick: float = TICK) -> None:
        self._reads = reads
        self._tick = tick
        self._streams = 0
        self._events: Stable | None = None
        self._states: Stable | None = None
        self._news = asyncio.Event()
        self._pages: OrderedDict[tuple[Position, Position], asyncio.Task[Page]] = OrderedDict()
        self._reading = asyncio.Semaphore(READING)
        self._task: asyncio.Task[None] | None = None

    @property
    def stable(self) -> Position:
        """The position up to which rows can be read."""
        if self._events is None or self._states is None:
            return Position(0, 0)
        return Position(self._events.last, self._states.last)

    def enter(self, newest: Position) -> None:
        """Count a stream that begins. `newest`: the newest rows that there are; numbers much below are
        stable."""
        self._streams += 1
        if self._task is None:
            self._events = Stable(max(0, newest.event - CHECKED_IDS))
            self._states = Stable(max(0, newest.state - CHECKED_IDS))
            self._task = asyncio.create_task(self._run(), name="changes")

    def leave(self) -> None:
        """Count a stream that ended; the last one ends the checks."""
        self._streams -= 1
        if not self._streams and self._task is not None:
            self._task.cancel()
            self._task = None
            self._pages.clear()

    async def wait(self, timeout: float) -> None:
        """Wait until more rows are stable, at most `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._news.wait()
        except TimeoutError:
            return

    async def page(self, after: Position) -> Page:
        """Return the lines that follow a position, up to the last stable row."""
        place = (after, self.stable)
        task = self._pages.get(place)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._pages[place] = asyncio.create_task(self._read(*place))
            if len(self._pages) > KEPT_PAGES:
                self._pages.popitem(last=False)
        self._pages.move_to_end(place)
        return await asyncio.shield(task)  # other streams may wait for it

    async def _read(self, after: Position, until: Position) -> Page:
        async with self._reading:
            return await self._reads.page(after, until)

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._check()
            except Exception:
                log.exception("the stream of changes could not be read on")
            took = time.monotonic() - began
            await asyncio.sleep(max(self._tick, REST * took))

    async def _check(self) -> None:
        assert self._events is not None and self._states is not None
        before = self.stable
        events, states = await self._reads.check(before)
        self._events.update(events, now := time.monotonic())
        self._states.update(states, now)
        if before.is_before(self.stable):
            self._news.set()
            self._news = asyncio.Event()
