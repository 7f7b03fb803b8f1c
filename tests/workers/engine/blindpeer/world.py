"""A blind peer over a store in memory, and clients on connections in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.cores.link import Link
from hypercore.blindpeer import BlindPeerChannel, CoreRef, Cores, Hello, RpcChannel
from hypercore.core import memory_store
from hypercore.crypto import KeyPair
from hypercore.testing.connections import EndKeys, connected
from hypercore.testing.cores import Writer as CoreWriter
from workers.engine.blindpeer.blind_peer import BlindPeer
from workers.engine.blindpeer.host import Room
from workers.engine.model.events import BlindCoreChanged
from workers.engine.settings.blind_peer import BlindPeerSettings

GROUP = b"\x22" * 32
SERVER = KeyPair.from_seed(b"\xb1" * 32)
FIRST, SECOND = (KeyPair.from_seed(bytes([n]) * 32) for n in (0xC1, 0xC2))


class Host:
    """The engine."""

    def __init__(self) -> None:
        self.measured: Room | None = None
        self.announced: list[bytes] = []
        self.wanted: set[bytes] = set()
        self.deletions = 0

    def room(self) -> Room | None:
        return self.measured

    def content_deleted(self) -> None:
        self.deletions += 1
        self.measured = None

    def announce(self, keys: Iterable[bytes]) -> None:
        self.announced += keys

    async def withdraw(self, key: bytes) -> None:
        self.announced.remove(key)

    def is_wanted(self, key: bytes) -> bool:
        return key in self.wanted


class World:
    """The blind peer, its store, and what it has emitted."""

    def __init__(self, store: Any = None, **settings: Any) -> None:
        self.host = Host()
        self.events: list[BlindCoreChanged] = []
        self.store = store or memory_store()
        self.cores = Corestore(self.store, on_core_requested=lambda name: self.peer.on_core_requested(name))
        self.now_ms = 1_700_000_000_000
        self.peer = BlindPeer(
            BlindPeerSettings(**settings),
            cores=self.cores,
            host=self.host,
            emit=self.events.append,  # type: ignore[arg-type]
            now_ms=lambda: self.now_ms,
        )
        self.peer.start()

    def states(self, key: bytes) -> list[str]:
        return [event.state for event in self.events if event.core == key]

    def held(self, key: bytes) -> int:
        info = self.cores.stored(key)
        return 0 if info is None else info.have

    async def close(self) -> None:
        self.peer.close()
        await self.cores.close()


class App:
    """A client with its own store, connected to a blind peer."""

    def __init__(self, cores: Corestore, link: Link, server: Link) -> None:
        self.cores = cores
        self.link = link
        self.server = server
        """The other end."""
        self.answers: list[Any] = []
        self.channel = BlindPeerChannel(
            link.muxer, self, on_response=lambda _, answer: self.answers.append(answer)
        )
        self.channel.open(0.0, Hello(version="2.10.1"))

    def name(self, *cores: CoreRef, **fields: Any) -> None:
        self.channel.send_cores(Cores(cores=cores, **fields))

    def rpc(self) -> RpcChannel:
        found = RpcChannel(
            self.link.muxer, SERVER.public_key, on_response=lambda _, answer: self.answers.append(answer)
        )
        found.open(0.0)
        return found

    def add(self, writer: CoreWriter) -> CoreRef:
        self.cores.get(writer.core.key, active=False)
        return CoreRef(writer.core.key, writer.core.length)

    def cores_received(self, *_: object) -> None: ...
    def notification_received(self, *_: object) -> None: ...
    def malformed_received(self, *_: object) -> None: ...
    def channel_ended(self, *_: object) -> None: ...


@asynccontextmanager
async def app(world: World, store: Any = None, key_pair: KeyPair = FIRST) -> AsyncIterator[App]:
    cores = Corestore(store or memory_store())
    async with connected([EndKeys(key_pair, SERVER)]) as [(client, server)]:
        link = world.cores.replicate(server)
        world.peer.attach(link)
        server.add_close_listener(lambda: world.peer.detach(link))
        try:
            yield App(cores, cores.replicate(client), link)
        finally:
            client.destroy()
            server.destroy()
            await cores.close()


def run(scene: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scene()

    asyncio.run(bounded())
