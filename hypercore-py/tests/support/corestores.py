"""Corestores joined over real sockets on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.cores.session import Hypercore
from hypercore.testing.connections import connected, end_keys

TIMEOUT = 10


@asynccontextmanager
async def joined(a: Corestore, b: Corestore) -> AsyncIterator[None]:
    """A connection between two corestores, for as long as the context lasts."""
    async with connected([end_keys()]) as [(client, server)]:
        a.replicate(client)
        b.replicate(server)
        yield


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(3 * TIMEOUT):
            await test()

    asyncio.run(bounded())


async def eventually(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not predicate():
            await asyncio.sleep(0.01)


def content(core: Hypercore) -> list[bytes | None]:
    return [core.peek(i) for i in range(core.length)]
