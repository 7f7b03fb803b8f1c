"""`seederfarm sources follow`: reads every source when its time has come, and seed lists when they change.

A few sources are read at a time, each within its own deadline, so that a slow one keeps nobody waiting.
Several followers may run beside each other: a source is read by whoever claims it first.
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

from .apply import Outcome, settle
from .claims import Begun, Reading, ask, begin, enabled, is_due, release, version_of
from .parse import SourceError
from .parser import Parser
from .seedlists import FollowedList, SeedLists

LOOK_EVERY: Final = 1.0
"""Seconds between looks at the registry for sources that are new, changed, switched off or due."""
AT_ONCE: Final = 8
"""Sources that are read at the same time."""
THREADS: Final = 4
"""Threads, each with a connection, that speak to the database."""
OPEN_AGAIN: Final = 10.0
"""Seconds between attempts to open the swarm and the store of the lists."""
PATIENCE: Final = 20.0
"""Seconds without anybody who has a seed list, after which that is said."""

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


class Database:
    """Runs functions that need the registry in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="registry")

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Raises DatabaseError or InterfaceError when the database is away; the next call connects anew."""

        def call() -> T:
            try:
                return function(*args, **kwargs)
            except (DatabaseError, InterfaceError):
                connection.close()
                raise

        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def close(self) -> None:
        """Returns when all calls have ended, and their connections."""
        everybody = threading.Barrier(THREADS)

        def leave() -> None:
            everybody.wait()  # so that each thread comes by once
            connection.close()

        await asyncio.gather(*(self(leave) for _ in range(THREADS)))
        self._threads.shutdown()


class Follower:
    """Reads sources until it is told to stop."""

    def __init__(
        self,
        database: Database,
        lists: SeedLists,
        *,
        woken: asyncio.Event,
        clock: Callable[[], datetime] = timezone.now,
        told: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        """`woken` is set when a look is worth while before the next second. `told` is called with what became
        of every reading."""
        self._database = database
        self._lists = lists
        self._woken = woken
        self._clock = clock
        self._told = told
        self._parser = Parser()
        self._readings: dict[int, asyncio.Task[None]] = {}
        self._asking: set[asyncio.Task[Reading | SourceError]] = set()
        self._unfinished: list[Source] = []
        """Claimed, and not read after all."""
        self._ending = False
        self._away = False
        self._broken = ""
        """Why seed lists cannot be followed."""
        self._open_again_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Returns soon after `stop` was set; what was being read is left to be read again at once."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                await self._look()
                waking = asyncio.ensure_future(self._woken.wait())
                await asyncio.wait(
                    (stopping, waking), timeout=LOOK_EVERY, return_when=asyncio.FIRST_COMPLETED
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

    async def _look(self) -> None:
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
        return followed.alone_for is None or followed.alone_for >= PATIENCE

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
        begun = None
        try:
            begun = await self._database(begin, source.pk, self._clock(), always=followed is not None)
            if begun is None:
                return
            said = await self._ask(begun, followed)
            if said is None:
                self._unfinished.append(begun.source)
                return
            outcome = await self._database(settle, begun.source, said, self._clock())
        except (DatabaseError, InterfaceError) as error:
            log.warning("source %s: the database is away: %s", source.name, _text(error))
            if begun is not None:
                self._unfinished.append(begun.source)
            return
        if followed is not None and isinstance(said, SourceError):
            followed.failed = version
        if outcome is not None:
            self._say(outcome)

    async def _ask(self, begun: Begun, followed: FollowedList | None) -> Reading | SourceError | None:
        """None: we are to end."""
        if self._ending:
            return None
        if begun.source.kind == Source.Kind.BEE and followed is None and self._broken:
            return SourceError(f"seed lists cannot be followed: {self._broken}")
        asking = asyncio.ensure_future(ask(begun, self._parser, followed))
        self._asking.add(asking)
        try:
            await asyncio.wait((asking,))
        finally:
            self._asking.discard(asking)
            asking.cancel()
        return None if asking.cancelled() else asking.result()

    def _say(self, outcome: Outcome) -> None:
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
        self._told(outcome)


def key_of(source: Source) -> bytes | None:
    """The key of a seed list; None for other sources, and for what is no key."""
    if source.kind != Source.Kind.BEE:
        return None
    try:
        return decode_key(source.location)
    except KeyFormatError:
        return None


def _text(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
