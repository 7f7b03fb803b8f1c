"""Engines in a test: real cores and replication, over connections in memory and a swarm that pretends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic

from hypercore.aio.cores.corestore import IDLE_SECONDS, Corestore
from hypercore.core import Store, memory_store
from hypercore.dht.address import BootstrapNode
from workers.engine.engine import Engine
from workers.engine.limits.limits import Limits
from workers.engine.model.event_buffer import EventBuffer
from workers.engine.model.events import Event, Synced
from workers.engine.seeds.cold import Cold
from workers.engine.seeds.table import SeedTable
from workers.engine.settings.key_list import SeedSpec
from workers.engine.settings.settings import EngineSettings

from .fakes import Writer, WriterOfDrive
from .links import FakeSwarm, MemoryConnection, connected

SETTINGS = EngineSettings(
    data=Path("unused"),
    bootstrap=(BootstrapNode("127.0.0.1", 4_000),),
    report_interval=0.05,
    leave_timeout=0.2,
)


class Farm:
    """An engine of ours in a test."""

    def __init__(
        self,
        store: Store | None = None,
        settings: EngineSettings = SETTINGS,
        online: Callable[[], Awaitable[object]] | None = None,
        idle_seconds: float = IDLE_SECONDS,
        claim: Callable[[bytes, bytes], bool] = lambda key, core: True,
    ) -> None:
        self.events: list[Event] = []
        self.times: list[float] = []
        """When each of them was emitted."""
        self.store = store or memory_store()
        self.swarm = FakeSwarm()
        self.cores = Corestore(
            self.store,
            idle_seconds=idle_seconds,
            on_error=lambda error: self.engine.storage_failed(error),
            on_core_requested=lambda name: self.engine.on_core_requested(name),
        )
        self.seeds = SeedTable()
        events = EventBuffer(self._record)
        self.engine = Engine(
            settings,
            swarm=self.swarm,
            cores=self.cores,
            seeds=self.seeds,
            limits=Limits(
                settings.limits,
                cores=self.cores,
                data=settings.data,
                emit=events.emit,
                disk_usage=lambda _: (1 << 50, 0, 1 << 50),
            ),
            events=events,
            online=online,
            claim=claim,
        )

    def _record(self, event: Event) -> None:
        self.events.append(event)
        self.times.append(monotonic())

    async def __aenter__(self) -> Farm:
        await self.engine.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.stop()

    def connect(self, other: Corestore) -> None:
        ours, theirs = connected()
        self.swarm.connections.append(ours)
        self.cores.replicate(ours)
        other.replicate(theirs)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)

    def synced(self, key: bytes) -> list[Synced]:
        return [event for event in self.events if isinstance(event, Synced) and event.key == key]


def scenario(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in an event loop of its own."""

    def run() -> None:
        asyncio.run(test())  # type: ignore[arg-type]

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def published(writer: Writer | WriterOfDrive) -> Corestore:
    """The corestore of a writer whose blocks are durable."""
    writer.store.flush()  # a head that is not durable is not shown to anybody
    return Corestore(writer.store)


class ColdFarm(Farm):
    """Its cores become idle soon."""

    def __init__(
        self, store: Store | None = None, claim: Callable[[bytes, bytes], bool] = lambda key, core: True
    ) -> None:
        super().__init__(store, idle_seconds=0.05, claim=claim)

    def is_cold(self, key: bytes) -> bool:
        slot = self.engine._seeds.get(key)
        return slot is not None and isinstance(slot.state, Cold)

    async def until_cold(self, key: bytes) -> None:
        await self.until(lambda: self.is_cold(key) and not self.store.open_cores)

    def link(self, other: Corestore) -> MemoryConnection:
        ours, theirs = connected()
        self.swarm.connections.append(ours)
        self.cores.replicate(ours)
        other.replicate(theirs)
        return theirs


async def put_away(farm: ColdFarm, writer: Writer | WriterOfDrive) -> Corestore:
    """The farm syncs it from its writer, who then leaves. Gives the writer's corestore."""
    theirs = published(writer)
    farm.engine.add([SeedSpec(writer.key)])
    connection = farm.link(theirs)
    await farm.until(lambda: bool(farm.synced(writer.key)))
    connection.close()
    await farm.until_cold(writer.key)
    return theirs
