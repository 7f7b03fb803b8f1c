"""Blocks for the reading commands: stored ones from disk, the rest from peers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from hypercore.aio.cores.session import Hypercore
from hypercore.core import Core
from hypercore.manifest import Manifest

from .waiting import Waiting

T = TypeVar("T")

UPDATE_TIMEOUT = 3.0
"""Seconds that peers get to show a newer head than the first one received."""

SEARCH_TIMEOUT = 20.0
"""Seconds for finding a first peer, where the stored version is older than the one wanted. Ours: reaching a
peer behind two NATs takes up to 20."""

REMEMBERED_BLOCKS = 256
"""Blocks of a core kept in memory while reading through it: in some drives, files share blocks."""

Needed = Callable[[], Awaitable[None]]


class LocalFirst:
    """A `BlockSource` that reads stored blocks from disk and uses the network for the rest only.

    `session` gets blocks from peers; with `newest_only`, it keeps only the newest. `local` is the core in
    another store, read-only.
    """

    def __init__(
        self, session: Hypercore, needed: Needed, *, newest_only: bool, local: Core | None = None
    ) -> None:
        self._session = session
        self._needed = needed
        self._newest_only = newest_only
        self._local = local if local is not None and local.length else None
        self._recent: OrderedDict[int, None] = OrderedDict()

    @property
    def key(self) -> bytes:
        return self._session.key

    @property
    def length(self) -> int:
        return max(self._session.length, 0 if (local := self._stored()) is None else local.length)

    @property
    def fork(self) -> int:
        local = self._stored()
        return self._session.fork if local is None else local.fork

    @property
    def manifest(self) -> Manifest | None:
        return self._session.manifest or (None if self._local is None else self._local.manifest)

    def peek(self, index: int) -> bytes | None:
        """The block if it is stored or was just fetched, else None."""
        local = self._stored()
        if local is not None and 0 <= index < local.length and (block := local.get(index)) is not None:
            return block
        return self._session.peek(index)

    def byte_range(self, index: int) -> tuple[int, int]:
        """Offset and size of a block in bytes. Raises BlockNotAvailable if they are not known."""
        local = self._stored()
        if local is not None and local.has(index):
            return local.byte_range(index)
        return self._session.byte_range(index)

    def prefetch(self, indices: Sequence[int]) -> None:
        """Request those of these blocks that are not stored."""
        local = self._stored()
        self._session.prefetch(
            indices if local is None else [index for index in indices if not local.has(index)]
        )

    async def get(self, index: int) -> bytes:
        block = self.peek(index)
        if block is None:
            await self._needed()
            block = await self._fetch(index)
        if self._newest_only:
            self._remember(index)
        return block

    async def _fetch(self, index: int) -> bytes:
        return await self._session.get(index)

    async def update(self) -> bool:
        """Wait for a first version; a stored one is read as it is."""
        if self.length:
            return False
        await self._needed()
        await self._session.wait_until(lambda: self._session.length > 0)
        await self._session.update(UPDATE_TIMEOUT)
        return True

    async def reach(self, version: int, limit: float | None) -> bool:
        """Whether the core has that version. If what is stored has not, peers are asked.

        `limit` is the time of the whole command, in seconds: the search takes a third of it at most.
        """
        session = self._session
        if self.length < version:
            await self._needed()
            longest = SEARCH_TIMEOUT if limit is None else min(SEARCH_TIMEOUT, limit / 3)
            with suppress(TimeoutError):
                async with asyncio.timeout(longest):
                    await session.wait_until(lambda: len(session.peers) > 0)
                async with asyncio.timeout(UPDATE_TIMEOUT):
                    await session.wait_until(lambda: self.length >= version)
        return self.length >= version

    def _stored(self) -> Core | None:
        """The other store's core, unless peers have shown that it was rewritten since."""
        session = self._session
        if self._local is None or (session.length and session.fork != self._local.fork):
            return None
        return self._local

    def _remember(self, index: int) -> None:
        if index >= self._session.length:
            return
        self._recent[index] = None
        self._recent.move_to_end(index)
        if len(self._recent) > REMEMBERED_BLOCKS:
            oldest, _ = self._recent.popitem(last=False)
            self._session.core.clear(oldest, oldest + 1)


class ContentsFirst(LocalFirst):
    """A `LocalFirst` for the contents of files: bytes are counted, and waiting can be given up."""

    def __init__(
        self,
        session: Hypercore,
        needed: Needed,
        *,
        newest_only: bool,
        local: Core | None,
        on_bytes: Callable[[int], None],
        waiting: Callable[[], Waiting | None],
    ) -> None:
        super().__init__(session, needed, newest_only=newest_only, local=local)
        self._on_bytes = on_bytes
        self._waiting = waiting

    async def get(self, index: int) -> bytes:
        block = await super().get(index)
        self._on_bytes(len(block))
        return block

    async def update(self) -> bool:
        """Called for a file beyond the known length of the core: only a peer can have more."""
        await self._needed()
        session, before = self._session, self.length
        if session.length == 0:
            await self._in_time(session.wait_until(lambda: session.length > 0), None, "the contents")
        await session.update(UPDATE_TIMEOUT)
        return self.length != before

    async def _fetch(self, index: int) -> bytes:
        return await self._in_time(self._session.get(index), index, "its content")

    async def _in_time(self, reading: Awaitable[T], index: int | None, what: str) -> T:
        waiting = self._waiting()
        if waiting is None:
            return await reading
        return await waiting.wait(reading, self._session.peers, index, what)
