"""Reads content for `ls`, `cat` and `get`: from the data directory where stored, from the swarm otherwise.

What the data directory lacks is read through memory and not stored in it. Blocks that a stored core lacks are
fetched and kept.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from hypercore.aio.cores.corestore import Corestore
from hypercore.bee import Bee, kind_of
from hypercore.blocks import BlockSource, DecryptingSource
from hypercore.core import Core, Store, memory_store
from hypercore.crypto import KeyPair, discovery_key
from hypercore.drive import Drive
from hypercore.errors import StoreLocked
from workers.engine.model.kind import Kind, derived_blobs_key
from workers.engine.process.loop import run

from ..common import logs
from ..common.failures import Failure
from ..common.options import GivenKey
from .data_directory import has_store, open_store
from .local_first import ContentsFirst, LocalFirst
from .read_options import ReadOptions
from .waiting import Waiting

if TYPE_CHECKING:
    from hypercore.aio.swarm.swarm import Swarm
    from workers.engine.bootstrap import BootstrapWatch

LOOKING_NOTICE = 2.0
"""Seconds of waiting after which the search for peers is reported."""


class Content:
    """The open content of a key."""

    def __init__(self, label: str, kind: Kind, source: BlockSource, version: int | None) -> None:
        self.label = label
        self.kind = kind.value
        self.source = source
        self._version = version
        self.drive: Drive | None = None
        self.bee: Bee | None = None
        self.on_bytes: Callable[[int], None] = lambda _: None
        """Called with the size in bytes of every block of content that was read."""
        self.waiting: Waiting | None = None
        """When to give up on contents that do not arrive. None: never."""

    @property
    def blocks(self) -> int:
        """Number of blocks of the version that is read."""
        return self.source.length if self._version is None else self._version


def with_content(
    given: GivenKey,
    options: ReadOptions,
    body: Callable[[Content], Awaitable[None]],
    *,
    late: Callable[[], str | None] = lambda: None,
) -> None:
    """Run `body` with the content of a key. Raises Failure when it is not read in time, with the text of
    `late`; None: how far the search for peers came."""
    search = Search()

    async def main() -> None:
        async with asyncio.timeout(options.timeout), opened(given, options, search) as content:
            await body(content)

    logs.set_up(options.log_level)
    try:
        run(main)
    except TimeoutError:
        raise Failure(f"gave up after {options.timeout:g} seconds: {late() or search.result}") from None


class Search:
    """How far the search for peers came."""

    def __init__(self) -> None:
        self.began = False
        self.found = False
        """A peer was connected."""

    @property
    def result(self) -> str:
        """That, as text, for a reader that gave up."""
        if self.found:
            return "no peer was found that has all of it"
        return "no peer was found" if self.began else "reading what is stored takes longer"


@asynccontextmanager
async def opened(given: GivenKey, options: ReadOptions, search: Search) -> AsyncIterator[Content]:
    """Context manager: the content of a key, from the data directory, the swarm, or both. Raises Failure if
    it has no such version."""
    key, label = given
    async with AsyncExitStack() as stack:
        held = pick_store(key, options.data)
        if held.local is not None:
            stack.callback(held.local.close)
        cores = Corestore(held.store)
        stack.push_async_callback(cores.close)
        network = _Network(given, options, cores, search)
        stack.push_async_callback(network.close)

        def local(core_key: bytes) -> Core | None:
            return None if held.local is None else held.local.open_core(core_key, create=False)

        async def open_blobs(core_key: bytes) -> BlockSource:
            return ContentsFirst(
                cores.get(core_key),
                network.needed,
                newest_only=held.newest_only,
                local=local(core_key),
                on_bytes=lambda count: content.on_bytes(count),
                waiting=lambda: content.waiting,
            )

        main = LocalFirst(cores.get(key), network.needed, newest_only=held.newest_only, local=local(key))
        if main.length == 0:
            await main.update()
        if options.version is not None and not await main.reach(options.version, options.timeout):
            raise Failure(f"version {options.version} is not known; the newest is {main.length}")
        secret = options.encryption_key
        plain = main if secret is None else DecryptingSource(main, secret)
        content = Content(label, Kind(await kind_of(plain)), plain, options.version)
        if content.kind == "core" and options.log_level < logging.ERROR:
            _report_unreadable(label, main, given_key=secret is not None)
        if content.kind == "drive":
            drive = Drive(main, open_blobs, encryption_key=secret)
            content.drive = drive if options.version is None else drive.checkout(options.version)
        elif content.kind == "bee":
            bee = Bee(plain)
            content.bee = bee if options.version is None else bee.checkout(options.version)
        yield content


def _report_unreadable(label: str, main: BlockSource, *, given_key: bool) -> None:
    """Report that the content cannot be read without its encryption key, and is shown as a core."""
    if given_key:
        click.echo(f"seederfarm: with this encryption key, {label} is neither a drive nor a bee", err=True)
    elif derived_blobs_key(main.key, main.manifest) is not None:
        click.echo(
            f"seederfarm: {label} is a core, or a drive that is encrypted (--encryption-key reads it)",
            err=True,
        )


class Held(NamedTuple):
    """The place where blocks are stored and read."""

    store: Store
    """Gets the blocks that come from peers."""
    newest_only: bool = True
    """It is memory: blocks are evicted once read."""
    local: Store | None = None
    """A second, read-only store."""


def pick_store(key: bytes, data: Path) -> Held:
    """The store of the data directory if it has some of the key, else memory."""
    if not has_store(data):
        return Held(memory_store())
    try:
        store, reason = open_store(data)
    except StoreLocked:
        click.echo(f"seederfarm: {data} is in use (a running `seed`?): reading from the swarm", err=True)
        return Held(memory_store())
    core = store.open_core(key, create=False)
    if core is None or not core.length:
        store.close()
        return Held(memory_store())
    return Held(store, newest_only=False) if reason is None else Held(memory_store(), local=store)


class _Network:
    """Joins the swarm when a block is missing."""

    def __init__(self, given: GivenKey, options: ReadOptions, cores: Corestore, search: Search) -> None:
        self._given = given
        self._options = options
        self._cores = cores
        self._search = search
        self._swarm: Swarm | None = None
        self._watch: BootstrapWatch | None = None
        self._starting = asyncio.Lock()
        self._notice: asyncio.TimerHandle | None = None

    async def needed(self) -> None:
        """Join now: a block must come from a peer."""
        async with self._starting:
            if self._swarm is not None:
                return
            self._search.began = True
            from hypercore.aio.swarm.swarm import Swarm  # reads from disk alone load no DHT
            from workers.engine.bootstrap import BootstrapWatch

            bootstrap = self._options.bootstrap
            self._swarm = Swarm(
                key_pair=KeyPair.from_seed(os.urandom(32)),
                bootstrap=bootstrap,
                port=self._options.port,
                on_connection=self._connected,
            )
            # Its events go to the log, so to stderr.
            self._watch = BootstrapWatch(self._swarm.node, lambda _: None, bootstrap)
            self._watch.start()
            loop = asyncio.get_running_loop()
            self._notice = loop.call_later(LOOKING_NOTICE, self._report_lookup)
            await self._swarm.start()
            self._swarm.join(discovery_key(self._given.key), server=False, client=True)

    def _connected(self, connection: Any) -> None:
        if self._notice is not None:
            self._notice.cancel()
        self._search.found = True
        self._cores.replicate(connection)

    def _report_lookup(self) -> None:
        if self._options.log_level < logging.ERROR:
            click.echo(
                f"seederfarm: looking for a peer that has {self._given.label} (Ctrl-C gives up)", err=True
            )

    async def close(self) -> None:
        if self._notice is not None:
            self._notice.cancel()
        if self._swarm is not None:
            await self._swarm.close()
        if self._watch is not None:
            self._watch.stop()
