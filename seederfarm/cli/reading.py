"""Reading content for `ls`, `cat` and `get`: from the data directory where it is, from the swarm otherwise.

What the data directory does not hold is not put into it: it is read through memory, and forgotten when it was
read. A block that a held core lacks is fetched and kept.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hypercore.aio.corestore import Corestore
from hypercore.aio.hypercore import Hypercore
from hypercore.bee import Bee, kind_of
from hypercore.blocks import BlockSource, DecryptingSource
from hypercore.core import Store, disk_store, memory_store
from hypercore.crypto import KeyPair, discovery_key
from hypercore.drive import Drive
from hypercore.errors import StoreLocked
from hypercore.manifest import Manifest
from workers.engine.kinds import Kind, derived_blobs_key
from workers.engine.loop import run

from . import logs
from .failures import Failure
from .options import GivenKey
from .read_options import ReadOptions
from .waiting import Waiting

if TYPE_CHECKING:
    from hypercore.aio.swarm import Swarm

T = TypeVar("T")

LOOKING_NOTICE = 2.0
"""Seconds of waiting after which it is said that we are looking."""

SETTLING = 3.0
"""Seconds that peers get to show a newer head than the first one we heard of."""

REMEMBERED_BLOCKS = 256
"""Blocks kept in memory of a core that is read through: in some drives, files refer to the same one."""


class Content:
    """What a key names, open for reading."""

    def __init__(self, label: str, kind: Kind, source: BlockSource) -> None:
        self.label = label
        self.kind = kind.value
        self.source = source
        self.drive: Drive | None = None
        self.bee: Bee | None = None
        self.on_bytes: Callable[[int], None] = lambda _: None
        """Called with the size of every block of content that was read."""
        self.waiting: Waiting | None = None
        """When to give up on contents that do not come. None: never."""


def reading(
    given: GivenKey,
    options: ReadOptions,
    body: Callable[[Content], Awaitable[None]],
    *,
    late: Callable[[], str] = lambda: "nobody was found who has it all",
) -> None:
    """Run `body` with the content of a key. Raises Failure when it was not found in time, which says what
    `late` does."""

    async def main() -> None:
        async with asyncio.timeout(options.timeout), opened(given, options) as content:
            await body(content)

    logs.set_up(options.log_level)
    try:
        run(main)
    except TimeoutError:
        raise Failure(f"gave up after {options.timeout:g} seconds: {late()}") from None


@asynccontextmanager
async def opened(given: GivenKey, options: ReadOptions) -> AsyncIterator[Content]:
    """The content of a key, from the data directory, the swarm, or both."""
    key, label = given
    async with AsyncExitStack() as stack:
        store, held = choose_store(key, options.data)
        cores = Corestore(store)
        stack.push_async_callback(cores.close)
        network = _Network(given, options, cores)
        stack.push_async_callback(network.close)

        async def open_blobs(core_key: bytes) -> BlockSource:
            return ContentsFirst(content, cores.get(core_key), network.needed, forget=not held)

        main = LocalFirst(cores.get(key), network.needed, forget=not held)
        if main.length == 0:
            await main.update()
        secret = options.encryption_key
        plain = main if secret is None else DecryptingSource(main, secret)
        content = Content(label, Kind(await kind_of(plain)), plain)
        if content.kind == "core" and options.log_level < logging.ERROR:
            _say_unreadable(label, main, given_key=secret is not None)
        if content.kind == "drive":
            drive = Drive(main, open_blobs, encryption_key=secret)
            content.drive = drive if options.version is None else drive.checkout(options.version)
        elif content.kind == "bee":
            bee = Bee(plain)
            content.bee = bee if options.version is None else bee.checkout(options.version)
        yield content


def _say_unreadable(label: str, main: BlockSource, *, given_key: bool) -> None:
    """A core it is for us; it may be more for somebody who can read it."""
    if given_key:
        click.echo(f"seederfarm: with this encryption key, {label} is neither a drive nor a bee", err=True)
    elif derived_blobs_key(main.key, main.manifest) is not None:
        click.echo(
            f"seederfarm: {label} is a core, or a drive that is encrypted (--encryption-key reads it)",
            err=True,
        )


def choose_store(key: bytes, data: Path) -> tuple[Store, bool]:
    """The store to read from, and whether it is that of the data directory (if that has some of the key)."""
    if data.exists():
        try:
            store = disk_store(data)
        except StoreLocked:
            click.echo(f"seederfarm: {data} is in use (a running `seed`?): reading from the swarm", err=True)
            return memory_store(), False
        core = store.open_core(key, create=False)
        if core is not None and core.length:
            return store, True
        store.close()
    return memory_store(), False


class _Network:
    """Joins the swarm when something is missing, and not before."""

    def __init__(self, given: GivenKey, options: ReadOptions, cores: Corestore) -> None:
        self._given = given
        self._options = options
        self._cores = cores
        self._swarm: Swarm | None = None
        self._starting = asyncio.Lock()
        self._notice: asyncio.TimerHandle | None = None

    async def needed(self) -> None:
        """Something has to come from a peer."""
        async with self._starting:
            if self._swarm is not None:
                return
            from hypercore.aio.swarm import Swarm  # what is read from the disk alone loads no DHT

            bootstrap = self._options.bootstrap
            self._swarm = Swarm(
                key_pair=KeyPair.from_seed(os.urandom(32)),
                bootstrap=None if bootstrap is None else [(node.host, node.port) for node in bootstrap],
                port=self._options.port,
            )
            self._swarm.on_connection = lambda connection, _: self._connected(connection)
            loop = asyncio.get_running_loop()
            self._notice = loop.call_later(LOOKING_NOTICE, self._say_looking)
            await self._swarm.start()
            self._swarm.join(discovery_key(self._given.key), server=False, client=True)

    def _connected(self, connection: Any) -> None:
        if self._notice is not None:
            self._notice.cancel()
        self._cores.replicate(connection)

    def _say_looking(self) -> None:
        if self._options.log_level < logging.ERROR:
            click.echo(
                f"seederfarm: looking for somebody who has {self._given.label} (Ctrl-C gives up)", err=True
            )

    async def close(self) -> None:
        if self._notice is not None:
            self._notice.cancel()
        if self._swarm is not None:
            await self._swarm.close()


class LocalFirst:
    """A `BlockSource`: what is stored is read from the disk, the network is bothered for the rest alone."""

    def __init__(
        self,
        session: Hypercore,
        needed: Callable[[], Awaitable[None]],
        *,
        forget: bool,
    ) -> None:
        self._session = session
        self._needed = needed
        self._forget = forget
        self._recent: OrderedDict[int, None] = OrderedDict()
        self.peek = session.peek
        self.byte_range = session.byte_range
        self.prefetch = session.prefetch

    @property
    def key(self) -> bytes:
        return self._session.key

    @property
    def length(self) -> int:
        return self._session.length

    @property
    def fork(self) -> int:
        return self._session.fork

    @property
    def manifest(self) -> Manifest | None:
        return self._session.manifest

    async def get(self, index: int) -> bytes:
        block = self._session.peek(index)
        if block is None:
            await self._needed()
            block = await self._fetch(index)
        if self._forget:
            self._remember(index)
        return block

    async def _fetch(self, index: int) -> bytes:
        return await self._session.get(index)

    async def update(self) -> bool:
        """Waits for a first version; what is held already is read as it is."""
        if self.length:
            return False
        await self._needed()
        await self._session.wait_until(lambda: self._session.length > 0)
        await self._session.update(SETTLING)
        return True

    def _remember(self, index: int) -> None:
        self._recent[index] = None
        self._recent.move_to_end(index)
        if len(self._recent) > REMEMBERED_BLOCKS:
            oldest, _ = self._recent.popitem(last=False)
            self._session.core.clear(oldest, oldest + 1)


class ContentsFirst(LocalFirst):
    """The same for the contents of files: they are counted, and may be waited for in vain."""

    def __init__(
        self, content: Content, session: Hypercore, needed: Callable[[], Awaitable[None]], *, forget: bool
    ) -> None:
        super().__init__(session, needed, forget=forget)
        self._content = content

    async def get(self, index: int) -> bytes:
        block = await super().get(index)
        self._content.on_bytes(len(block))
        return block

    async def update(self) -> bool:
        """Asked when a file lies behind what is known of the core: only a peer can know more."""
        await self._needed()
        session, before = self._session, self._session.length
        if before == 0:
            await self._in_time(session.wait_until(lambda: session.length > 0), None, "the contents")
        await session.update(SETTLING)
        return session.length != before

    async def _fetch(self, index: int) -> bytes:
        return await self._in_time(self._session.get(index), index, "its content")

    async def _in_time(self, reading: Awaitable[T], index: int | None, what: str) -> T:
        waiting = self._content.waiting
        if waiting is None:
            return await reading
        return await waiting.wait(reading, self._session.peers, index, what)
