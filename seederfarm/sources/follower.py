"""`seederfarm sources follow`: reads every source when it is due, and seed lists when they change.

A few sources are read at a time, each within its own deadline, so that a slow one does not hold up others.
Several followers may run beside each other: the one that claims a source first reads it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Final, ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from hypercore.errors import KeyFormatError, StorageError
from hypercore.keys import decode_key
from seederfarm.registry.models import Source

from .apply import Outcome, apply_reading
from .claims import Claim, Reading, claim, enabled, fetch_source, is_due, release, version_of
from .list_formats import SourceError
from .live_lists import FollowedList, SeedLists
from .parser_process import Parser

POLL_EVERY: Final = 1.0
"""Seconds between queries for sources that are new, changed, disabled or due."""
AT_ONCE: Final = 8
"""Sources that are read at the same time."""
THREADS: Final = 4
"""Database threads, each with a connection."""
OPEN_AGAIN: Final = 10.0
"""Seconds between attempts to open the swarm and the store of the lists."""
PEER_TIMEOUT: Final = 20.0
"""Seconds without a peer that has a seed list, after which an error is recorded."""

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


class Database:
    """Runs functions that need the registry in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="registry")

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` in a thread. Raises DatabaseError or InterfaceError while the database is away; the
        next call reconnects."""

        def call() -> T:
            try:
                return function(*args, **kwargs)
            except (DatabaseError, InterfaceError):
                connection.close()
                raise

        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def close(self) -> None:
        """Returns when all calls have ended and connections are closed."""
        all_threads = threading.Barrier(THREADS)

        def leave() -> None:
            all_threads.wait()  # so that each thread comes by once
            connection.close()

        await asyncio.gather(*(self(leave) for _ in range(THREADS)))
        self._threads.shutdown()


class Follower:
    """Reads sources until it is stopped."""

    def __init__(
        self,
        database: Database,
        lists: SeedLists,
        *,
        woken: asyncio.Event,
        clock: Callable[[], datetime] = timezone.now,
        on_outcome: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        """`woken` is set when sources should be checked before the next second. `on_outcome` is called with
        every outcome."""
        self._database = database
        self._lists = lists
        self._woken = woken
        self._clock = clock
        self._on_outcome = on_outcome
        self._parser = Parser()
        self._readings: dict[int, asyncio.Task[None]] = {}
        self._asking: set[asyncio.Task[Reading | SourceError]] = set()
        self._unfinished: list[Source] = []
        """Claimed but not read."""
        self._ending = False
        self._away = False
        self._broken = ""
        """Why seed lists cannot be followed; empty: they can."""
        self._open_again_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Returns soon after `stop` is set; interrupted readings become due at once."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                await self._poll()
                waking = asyncio.ensure_future(self._woken.wait())
                await asyncio.wait(
                    (stopping, waking), timeout=POLL_EVERY, return_when=asyncio.FIRST_COMPLETED
                )
                waking.cancel()
                self._woken.clear()
        finally:
            stopping.cancel()
            await self._end()

    async def _end(self) -> None:
        self._ending = True
        for asking in self._asking:
            asking.cancel()
        await asyncio.gather(*self._readings.values(), return_exceptions=True)
        with suppress(DatabaseError, InterfaceError):
            await self._release()
        with suppress(StorageError):
            await self._lists.close()

    async def _release(self) -> None:
        while self._unfinished:
            await self._database(release, self._unfinished[-1])
            self._unfinished.pop()

    async def _poll(self) -> None:
        try:
            await self._release()
            sources = await self._database(enabled)
        except (DatabaseError, InterfaceError) as error:
            if not self._away:
                log.warning("the database is away: %s", _text(error))
            self._away = True
            return
        if self._away:
            log.info("the database is back")
            self._away = False
        await self._follow_lists(sources)
        now = self._clock()
        for source in sources:
            if len(self._readings) >= AT_ONCE:
                return
            if source.pk not in self._readings and self._is_wanted(source, now):
                self._start(source)

    async def _follow_lists(self, sources: list[Source]) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._open_again_at:
            return
        try:
            await self._lists.want({key for source in sources if (key := key_of(source)) is not None})
        except (StorageError, OSError) as error:
            self._open_again_at = now + OPEN_AGAIN
            if str(error) != self._broken:
                log.error("seed lists cannot be followed: %s", error)
            self._broken = str(error)
        else:
            self._broken = ""

    def _is_wanted(self, source: Source, now: datetime) -> bool:
        followed = self._followed(source)
        if followed is None:
            return is_due(source, now)
        version, known = followed.version, version_of(source)
        if followed.resting:
            return False
        if version is not None and version != followed.failed and (known is None or version > known):
            return True
        if not is_due(source, now):
            return False
        return followed.alone_for is None or followed.alone_for >= PEER_TIMEOUT

    def _followed(self, source: Source) -> FollowedList | None:
        key = key_of(source)
        return None if key is None else self._lists.get(key)

    def _start(self, source: Source) -> None:
        pk = source.pk
        task = asyncio.ensure_future(self._read(source))
        self._readings[pk] = task

        def ended(_: object) -> None:
            del self._readings[pk]
            self._woken.set()  # another may have its turn

        task.add_done_callback(ended)

    async def _read(self, source: Source) -> None:
        followed = self._followed(source)
        version = followed.version if followed is not None else None
        claimed = None
        try:
            claimed = await self._database(claim, source.pk, self._clock(), always=followed is not None)
            if claimed is None:
                return
            reading = await self._ask(claimed, followed)
            if reading is None:
                self._unfinished.append(claimed.source)
                return
            outcome = await self._database(apply_reading, claimed.source, reading, self._clock())
        except (DatabaseError, InterfaceError) as error:
            log.warning("source %s: the database is away: %s", source.name, _text(error))
            if claimed is not None:
                self._unfinished.append(claimed.source)
            return
        if followed is not None and isinstance(reading, SourceError):
            followed.failed = version
        if outcome is not None:
            self._log_outcome(outcome)

    async def _ask(self, claimed: Claim, followed: FollowedList | None) -> Reading | SourceError | None:
        """Read a claimed source. None: the follower ends."""
        if self._ending:
            return None
        if claimed.source.kind == Source.Kind.BEE and followed is None and self._broken:
            return SourceError(f"seed lists cannot be followed: {self._broken}")
        asking = asyncio.ensure_future(fetch_source(claimed, self._parser, followed))
        self._asking.add(asking)
        try:
            await asyncio.wait((asking,))
        finally:
            self._asking.discard(asking)
            asking.cancel()
        return None if asking.cancelled() else asking.result()

    def _log_outcome(self, outcome: Outcome) -> None:
        if outcome.error:
            log.warning("source %s: %s", outcome.name, outcome.error)
        elif not outcome.unchanged:
            numbers = (outcome.listed, outcome.added, outcome.removed, outcome.kept, outcome.refused)
            log.info(
                "source %s: %d listed, %d added, %d removed, %d kept, %d refused", outcome.name, *numbers
            )
            if outcome.held:
                log.warning(
                    "source %s: %d removals held: %s", outcome.name, outcome.held, outcome.held_because
                )
            if outcome.skipped:
                log.warning("source %s: %d lines skipped", outcome.name, outcome.skipped)
        self._on_outcome(outcome)


def key_of(source: Source) -> bytes | None:
    """The key of a seed list; None for other sources and for invalid keys."""
    if source.kind != Source.Kind.BEE:
        return None
    try:
        return decode_key(source.location)
    except KeyFormatError:
        return None


def _text(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
