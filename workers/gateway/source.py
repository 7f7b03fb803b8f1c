"""A core as the gateway reads it: stored blocks first, the rest from peers, little of it held in memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from hypercore.aio.cores.session import Hypercore
from hypercore.blocks import SourceView
from hypercore.errors import BlockNotAvailable
from hypercore.manifest import Manifest

from .stored import StoredCore

T = TypeVar("T")

READ_AHEAD_BYTES = 4 << 20
"""Bytes that are requested from peers ahead of one reader: 40 MB/s at a round trip of 100 ms."""

FIRST_AHEAD = 4
"""Blocks of that before the size of any block is known, and with every block twice as many."""

MAX_AHEAD = 256
"""Most blocks of that, where they are small."""

MAX_HELD_BYTES = 96 << 20
"""Bytes of blocks from peers in memory, over all drives; the oldest are dropped and fetched again. Ours."""

BLOCK_TIMEOUT = 20.0
"""Seconds that a reader waits for one block of a peer."""

HEAD_TIMEOUT = 15.0
"""Seconds in which a first peer has to show what a key names."""

UPDATE_TIMEOUT = 3.0
"""Seconds that peers get to show a newer head than the first one received."""

TURN_BYTES = 1 << 20
"""Bytes from the disk after which others get a turn."""

TURN_BLOCKS = 64
"""The same for small blocks."""

RESCAN_EVERY = 5.0
"""Seconds without a peer after which the DHT is asked again, while a reader waits."""

OpenSession = Callable[[], Awaitable[Hypercore]]
SearchAgain = Callable[[], Awaitable[object]]


class HeldBlocks:
    """The blocks of peers that are in memory, of all sources. The oldest are dropped beyond the bound."""

    def __init__(self, max_bytes: int = MAX_HELD_BYTES) -> None:
        self._max_bytes = max_bytes
        self._blocks: OrderedDict[tuple[Hypercore, int], int] = OrderedDict()
        self.bytes = 0

    def add(self, session: Hypercore, index: int, size: int) -> None:
        """Count a block of `size` bytes that a peer gave, and drop the oldest beyond the bound."""
        self.bytes += size - self._blocks.pop((session, index), 0)
        self._blocks[session, index] = size
        while self.bytes > self._max_bytes and len(self._blocks) > 1:
            (old, at), dropped = self._blocks.popitem(last=False)
            self.bytes -= dropped
            old.core.clear(at, at + 1)

    def drop(self, session: Hypercore) -> None:
        """Drop all of one core."""
        for pair in [pair for pair in self._blocks if pair[0] is session]:
            self.bytes -= self._blocks.pop(pair)
        session.core.clear(0)


class CoreReader:
    """A `BlockSource`. `stored` is the core in an engine's store; the session gets what it lacks, and is
    opened when something is needed for the first time."""

    def __init__(
        self,
        key: bytes,
        open_session: OpenSession,
        held: HeldBlocks,
        stored: StoredCore | None,
        search_again: SearchAgain,
    ) -> None:
        """`search_again` asks the DHT for peers; it is called while there is none."""
        self._key = key
        self._open_session = open_session
        self._search_again = search_again
        self._held = held
        self._local = stored
        self._session: Hypercore | None = None
        self._opening: asyncio.Lock = asyncio.Lock()
        self.largest = 0
        """Bytes of the largest block that a peer has given."""
        self._spent = 0
        self._turn = 0

    @property
    def key(self) -> bytes:
        return self._key

    @property
    def length(self) -> int:
        lengths = [0 if self._session is None else self._session.length]
        local = self.stored()
        return max(*lengths, 0 if local is None else local.core.length)

    @property
    def fork(self) -> int:
        local = self.stored()
        if local is not None:
            return local.core.fork
        return 0 if self._session is None else self._session.fork

    @property
    def manifest(self) -> Manifest | None:
        found = None if self._local is None else self._local.core.manifest
        return found or (None if self._session is None else self._session.manifest)

    @property
    def session(self) -> Hypercore | None:
        """The session on the core in the swarm, or None while everything came from the disk."""
        return self._session

    def has(self, index: int) -> bool:
        """Whether the block is stored here or in memory."""
        local = self.stored()
        if local is not None and local.has(index):
            return True
        return self._session is not None and self._session.core.has(index)

    def peek(self, index: int) -> bytes | None:
        """Return a block that is stored here or in memory, verified, else None."""
        local = self.stored()
        if local is not None and (block := local.get(index)) is not None:
            return block
        return None if self._session is None else self._session.peek(index)

    def byte_range(self, index: int) -> tuple[int, int]:
        """Return byte offset and size of a block. Raises BlockNotAvailable."""
        local = self.stored()
        if local is not None and local.has(index):
            return local.byte_range(index)
        if self._session is None:
            raise BlockNotAvailable(f"block {index} is not here")
        return self._session.byte_range(index)

    async def get(self, index: int) -> bytes:
        """Return a block. Raises BlockNotAvailable when no peer gives it in time."""
        block = self.peek(index)
        if block is None:
            session = await self._needed()
            block = await self._in_time(session.get(index), BLOCK_TIMEOUT, "a block")
            self.largest = max(self.largest, len(block))
            self._held.add(session, index, len(block))
        self._spent += len(block)
        self._turn += 1
        if self._spent >= TURN_BYTES or self._turn >= TURN_BLOCKS:
            self._spent = self._turn = 0
            await asyncio.sleep(0)
        return block

    async def update(self) -> bool:
        """Wait for a first head if there is none, else ask peers for a newer one. Raises
        BlockNotAvailable."""
        before = (self.fork, self.length)
        session = await self._needed()
        if session.length == 0:
            await self._in_time(
                session.wait_until(lambda: session.length > 0), HEAD_TIMEOUT, "what the key names"
            )
        await session.update(UPDATE_TIMEOUT)
        return before != (self.fork, self.length)

    def request(self, indices: Sequence[int]) -> None:
        """Ask peers for blocks that will be read soon."""
        if self._session is not None:
            self._session.prefetch(indices)
            for index in indices:
                if not self._session.core.has(index):
                    self._held.add(self._session, index, self.largest)

    def rest(self) -> None:
        """Drop what peers gave. Reading may go on later."""
        session, self._session = self._session, None
        if session is not None:
            self._held.drop(session)
            session.close()

    async def _needed(self) -> Hypercore:
        async with self._opening:
            if self._session is None:
                self._session = await self._open_session()
            return self._session

    async def _in_time(self, reading: Awaitable[T], timeout: float, what: str) -> T:
        looking = asyncio.create_task(self._keep_looking())
        try:
            async with asyncio.timeout(timeout):
                return await reading
        except TimeoutError:
            peers = 0 if self._session is None else len(self._session.peers)
            met = f"{peers} connected" if peers else "none was found"
            raise BlockNotAvailable(f"no peer gave {what} within {timeout:g} s ({met})") from None
        finally:
            looking.cancel()

    async def _keep_looking(self) -> None:
        while self._session is not None:
            if not self._session.peers:
                await self._search_again()
            await asyncio.sleep(RESCAN_EVERY)

    def stored(self) -> StoredCore | None:
        """The stored core, unless peers have shown a newer fork."""
        session, local = self._session, self._local
        if local is None or (session is not None and session.length and session.fork > local.core.fork):
            return None
        return local


class ReadAhead(SourceView):
    """A view of a `CoreReader` for one reader of one file: keeps requests ahead of it, bounded in bytes."""

    def __init__(self, source: CoreReader) -> None:
        super().__init__(source)
        self._reader = source
        self._hinted: Sequence[int] = ()
        self._next = 0
        self._window = FIRST_AHEAD
        self.byte_range = source.byte_range
        self.peek = source.peek

    def prefetch(self, indices: Sequence[int]) -> None:
        """The blocks that follow. They are requested as the reader comes near."""
        self._hinted, self._next = indices, 0
        self._request()

    async def get(self, index: int) -> bytes:
        if self._reader.has(index) and self._reader.session is None:
            return await self._reader.get(index)
        self._request(index)
        block = await self._reader.get(index)
        fits = READ_AHEAD_BYTES // max(1, self._reader.largest)
        self._window = max(1, min(2 * self._window, fits, MAX_AHEAD))
        return block

    def _request(self, reached: int | None = None) -> None:
        """Request blocks until a window is ahead of the block that was reached."""
        if self._reader.session is None:
            return  # the first block that is missing opens it
        hinted, at = self._hinted, 0
        if reached is not None and reached in hinted:
            at = hinted.index(reached) + 1
        until = min(len(hinted), at + self._window)
        start = max(at, self._next)
        if start < until:
            self._next = until
            self._reader.request([index for index in hinted[start:until] if not self._reader.has(index)])
