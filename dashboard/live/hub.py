"""Sends fragments to streams. No Django: the renderer is an argument.

While there are watchers, a tick renders every watched topic once, for all its watchers, and gives changed
fragments to each of them. A slow watcher gets only the newest fragment of each topic, so it holds one text
for each.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, NamedTuple

log = logging.getLogger(__name__)

TICK: Final = 2.0
"""Seconds between two ticks."""
REST: Final = 15.0
"""A tick is followed by a rest of this many times its work at least: live pages take a fifteenth of the
database's and of a processor's time at most, however large the farm. Ours."""
ENTERING: Final = 2
"""Streams whose login is checked at once; the others wait, so that hundreds of tabs that come back together
leave connections of the database for pages. Ours."""
MAX_WATCHERS: Final = 1000
"""Streams of all users. Ours."""
MAX_TOPICS: Final = 4000
"""Topics of all streams. Ours: each drive whose page is open has eight, each row in view of a list one."""
MAX_TOPICS_EACH: Final = 110
"""Topics of one stream. Ours: the longest list has 100 rows."""
MAX_TEXT: Final = 32 << 20
"""Characters of all fragments. Ours: a fragment has some 2,000."""


class Rendered(NamedTuple):
    """What a tick has rendered."""

    texts: Mapping[str, str]
    """Fragments by topic."""
    work: float
    """Seconds of a processor, and of the database. Other processes on a busy machine do not count."""


Render = Callable[[Collection[str], Collection[str]], Awaitable[Rendered]]
"""Fragments of these topics, without those that are as they were, unless the second collection has them."""


class Full(Exception):
    """The bound on streams or topics is reached."""


class Watcher:
    """The stream of one page."""

    def __init__(self, topics: Collection[str]) -> None:
        self.topics = frozenset(topics)
        self._changed: dict[str, str] = {}
        self._news = asyncio.Event()

    def put(self, topic: str, text: str) -> None:
        """Keep the newest text of a topic for the client; an older one that it did not take is replaced."""
        self._changed[topic] = text
        self._news.set()

    async def take(self, timeout: float) -> dict[str, str]:
        """Fragments that changed since the last call, by topic. Waits for one; empty after `timeout`
        seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._news.wait()
        except TimeoutError:
            return {}
        self._news.clear()
        changed, self._changed = self._changed, {}
        return changed


class Hub:
    """All streams of a process. Belongs to one event loop."""

    def __init__(self, render: Render, *, tick: float = TICK) -> None:
        self._render = render
        self._tick = tick
        self.entering = asyncio.Semaphore(ENTERING)
        self._watchers: set[Watcher] = set()
        self._count: Counter[str] = Counter()
        self._shown: dict[str, str] = {}
        self._size = 0
        """Characters in `_shown`."""
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._watchers)

    @property
    def topics(self) -> int:
        """Number of watched topics."""
        return len(self._count)

    def has_room(self, topics: Collection[str]) -> bool:
        """Whether one more stream may watch these topics."""
        new = set(topics) - self._count.keys()
        return (
            len(self._watchers) < MAX_WATCHERS
            and len(self._count) + len(new) <= MAX_TOPICS
            and (not new or self._size < MAX_TEXT)
        )

    def watch(self, topics: Collection[str]) -> Watcher:
        """Begin to watch; the newest fragments come first. Raises Full."""
        if not self.has_room(topics):
            raise Full
        watcher = Watcher(topics)
        self._watchers.add(watcher)
        self._count.update(watcher.topics)
        for topic in watcher.topics & self._shown.keys():
            watcher.put(topic, self._shown[topic])
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="live")
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """End watching; the last one ends the ticks."""
        if watcher not in self._watchers:
            return
        self._watchers.remove(watcher)
        for topic in watcher.topics:
            self._count[topic] -= 1
            if not self._count[topic]:
                del self._count[topic]
                self._size -= len(self._shown.pop(topic, ""))
        if not self._watchers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                topics = tuple(self._count)
                texts, work = await self._render(topics, [t for t in topics if t not in self._shown])
                self._publish(texts)
            except Exception:
                # The database may be away; pages show by themselves that nothing comes.
                log.exception("live pages were not updated")
                work = time.monotonic() - began
            await asyncio.sleep(max(self._tick, REST * work))

    def _publish(self, texts: Mapping[str, str]) -> None:
        changed = {
            topic: text
            for topic, text in texts.items()
            if topic in self._count and self._shown.get(topic) != text
        }
        for topic, text in changed.items():
            self._size += len(text) - len(self._shown.get(topic, ""))
            self._shown[topic] = text
        if changed:
            for watcher in self._watchers:
                for topic in watcher.topics & changed.keys():
                    watcher.put(topic, changed[topic])
