"""Follows seed lists live: one swarm and one store for all of them, open while there is any."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from hypercore.aio import Corestore, Hypercore, Swarm
from hypercore.core import Store, disk_store, memory_store
from hypercore.crypto import KeyPair, discovery_key
from hypercore.dht.address import BootstrapNode
from hypercore.errors import StorageError
from hypercore.keys import encode_key
from workers.engine.seeds.topic import TopicSubscription
from workers.engine.settings.identity import load_identity

from .list_formats import Parsed, SourceError
from .seed_list_bee import BoundedBlocks, read_list

DEADLINE: Final = 60.0
"""Seconds to download a whole list."""
DEBOUNCE: Final = 0.1
"""Seconds from a change of a list to its reading: a publisher makes several changes in a row."""
REST: Final = 1.0
"""Seconds between two readings of a list; as long as the last one took, if that was longer."""
MAX_PEERS: Final = 32
"""Connections of the swarm."""

Version = tuple[int, int]
"""Fork and length of a list; later versions compare greater."""

log = logging.getLogger(__name__)


class FollowedList:
    """One list: its newest proven version, and the peers that have it."""

    def __init__(
        self, session: Hypercore, membership: TopicSubscription[Any], changed: Callable[[], None]
    ) -> None:
        self.failed: Version | None = None
        """A version that could not be read; not tried again."""
        self._session = session
        self._membership = membership
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._alone_since: float | None = self._loop.time()
        self._notified: Version | None = None
        self._rests_until = 0.0
        self._reading = asyncio.Lock()
        session.subscribe(lambda _: self._poll())
        self._poll()

    @property
    def version(self) -> Version | None:
        """None: no peer that has it was found."""
        return (self._session.fork, self._session.length) if self._session.length else None

    @property
    def alone_for(self) -> float | None:
        """Seconds without a peer that has it; None: there is one."""
        return None if self._alone_since is None else self._loop.time() - self._alone_since

    @property
    def resting(self) -> bool:
        """Whether it was read just now: a publisher that never stops writing must not keep us busy."""
        return self._loop.time() < self._rests_until

    def _poll(self) -> None:
        if not self._session.peers:
            if self._alone_since is None:
                self._alone_since = self._loop.time()
        elif self._alone_since is not None:
            self._alone_since = None
            self.failed = None
        if self.version != self._notified:
            self._notified = self.version
            self._loop.call_later(DEBOUNCE, self._changed)

    def update_lookups(self) -> None:
        """Look up peers again where useful. Call it about once a second."""
        self._membership.update(complete=False, peers=len(self._session.peers), now=self._loop.time())

    async def newest(self, seconds: float) -> None:
        """Wait for a peer that has the list, and until our version is as new as peers can prove."""
        try:
            async with asyncio.timeout(seconds):
                await self._session.wait_until(lambda: self._session.length > 0)
        except TimeoutError:
            return
        await self._session.update(seconds)

    async def read(self) -> Parsed:
        """Read the whole list from disk or peers. Raises SourceError; downloaded blocks stay on disk."""
        async with self._reading:
            fork, began = self._session.fork, self._loop.time()
            blocks = BoundedBlocks(self._session, self._session.peek)
            try:
                async with asyncio.timeout(DEADLINE):
                    parsed = await read_list(blocks)
            except TimeoutError:
                raise SourceError(f"the list did not come in whole within {DEADLINE:g} s") from None
            except StorageError as error:
                raise SourceError(f"the list cannot be kept: {error}") from None
            finally:
                ended = self._loop.time()
                self._rests_until = ended + max(REST, ended - began)
            if fork == self._session.fork:
                self._discard_others(blocks.wanted)
            return parsed

    def _discard_others(self, wanted: set[int]) -> None:
        """Delete blocks of older versions."""
        after = 0
        for index in (*sorted(wanted), self._session.length):
            if index > after:
                self._session.core.clear(after, index)
            after = index + 1

    def close(self) -> Awaitable[None]:
        """Stop at once; the result waits until the topic is unannounced."""
        self._session.close()
        return self._membership.leave()


class SeedLists:
    """The followed lists. `folder` None: in memory. `changed` is called on the loop shortly after a list
    changed."""

    def __init__(
        self,
        folder: Path | None,
        bootstrap: Sequence[BootstrapNode],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._bootstrap = bootstrap
        self._changed = changed
        self._lists: dict[bytes, FollowedList] = {}
        self._opened: AsyncExitStack | None = None
        self._swarm: Swarm | None = None
        self._cores: Corestore | None = None
        self._leaving: set[asyncio.Future[None]] = set()

    def get(self, key: bytes) -> FollowedList | None:
        """The followed list with this 32-byte key, or None."""
        return self._lists.get(key)

    @property
    def is_open(self) -> bool:
        """Whether there is a swarm."""
        return self._opened is not None

    async def want(self, keys: Iterable[bytes]) -> None:
        """Follow exactly these lists. Raises StorageError and OSError."""
        wanted = set(keys)
        if wanted and self._opened is None:
            await self._open(wanted)
        for key in self._lists.keys() - wanted:
            self._drop(key)
        for key in wanted - self._lists.keys():
            self._lists[key] = self._follow(key)
        if not wanted:
            await self.close()
        for found in self._lists.values():
            found.update_lookups()

    def _follow(self, key: bytes) -> FollowedList:
        assert self._cores is not None and self._swarm is not None
        session = self._cores.get(key)
        topic = discovery_key(key)
        membership = TopicSubscription(self._swarm, topic, announce=True, spread=key[0] / 256)
        return FollowedList(session, membership, self._changed)

    def _drop(self, key: bytes) -> None:
        assert self._cores is not None
        task = asyncio.ensure_future(self._lists.pop(key).close())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        try:
            self._cores.remove(key)
        except StorageError as error:
            log.warning("the seed list %s cannot be deleted: %s", encode_key(key), error)

    async def _open(self, wanted: set[bytes]) -> None:
        store = memory_store() if self._folder is None else disk_store(self._folder)
        try:
            pair = self._prepare(store, wanted)
            cores = Corestore(store)
        except BaseException:
            store.close()
            raise
        async with AsyncExitStack() as stack:
            stack.push_async_callback(cores.close)
            swarm = Swarm(
                key_pair=pair,
                bootstrap=self._bootstrap,
                max_peers=MAX_PEERS,
                on_connection=cores.replicate,
            )
            stack.push_async_callback(swarm.close)
            await swarm.start()
            self._swarm, self._cores, self._opened = swarm, cores, stack.pop_all()

    def _prepare(self, store: Store, wanted: set[bytes]) -> KeyPair:
        """Load the peer identity. Deletes lists that are no longer followed."""
        for info in store.cores():
            if info.key not in wanted:
                store.remove_core(info.key)
        return KeyPair.from_seed(os.urandom(32)) if self._folder is None else load_identity(self._folder)

    async def close(self) -> None:
        """Leave the swarm."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        self._lists.clear()
        self._swarm = self._cores = None
        await opened.aclose()
