"""Corestores joined over real sockets on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.cores.session import Hypercore
from hypercore.aio.net.handshake import secure
from hypercore.aio.net.udp_socket import Endpoint
from hypercore.aio.net.udx_transport import StreamTransport
from hypercore.crypto import KeyPair

TIMEOUT = 10


@asynccontextmanager
async def joined(a: Corestore, b: Corestore) -> AsyncIterator[None]:
    """A connection between two corestores, for as long as the context lasts."""
    endpoint = Endpoint()
    sockets = [endpoint.bind("127.0.0.1", 0) for _ in range(2)]
    streams = [StreamTransport(endpoint) for _ in range(2)]
    for i in range(2):
        streams[i].connect(streams[1 - i].local_id, sockets[1 - i].local_address, sockets[i])
    connections = await asyncio.gather(
        *(
            secure(streams[i], is_initiator=i == 0, key_pair=KeyPair.from_seed(bytes([i + 1]) * 32))
            for i in range(2)
        )
    )
    a.replicate(connections[0])
    b.replicate(connections[1])
    try:
        yield
    finally:
        for connection in connections:
            connection.destroy()
        endpoint.close()


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
