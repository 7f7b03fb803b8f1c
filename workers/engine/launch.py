"""Assembles an engine over a data directory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple
from weakref import WeakKeyDictionary

from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.cores.link import Link
from hypercore.aio.swarm.swarm import Swarm
from hypercore.connection import Connection
from hypercore.core import Store
from hypercore.errors import HypercoreError
from hypercore.storage.disk import DiskBackend
from hypercore.swarm.extra_dials import Use
from hypercore.swarm.policy import MAX_PEERS

from .bootstrap import BootstrapWatch
from .engine import Engine
from .limits.limits import Limits
from .limits.rlimit import allow_open_files, block_files
from .model.events import Event
from .removal.owners import Owners
from .settings.dht_nodes import NODES_FILE, keep_saving, load_nodes, network_name, save_nodes
from .settings.identity import load_identity
from .settings.settings import EngineSettings


class NetworkUnusable(HypercoreError):
    """The configured UDP port is in use."""

    code = "NETWORK_UNUSABLE"


class Launched(NamedTuple):
    """An engine and its parts."""

    engine: Engine
    cores: Corestore
    limits: Limits
    owners: Owners


@asynccontextmanager
async def launched(settings: EngineSettings, emit: Callable[[Event], None]) -> AsyncIterator[Engine]:
    """Context manager: a running engine, shut down on exit.

    Raises StorageError when the directory cannot be used, NetworkUnusable when the port cannot.
    """
    async with launched_parts(settings, emit) as parts:
        yield parts.engine


@asynccontextmanager
async def launched_parts(settings: EngineSettings, emit: Callable[[Event], None]) -> AsyncIterator[Launched]:
    """Like `launched`, with access to the parts below the engine."""
    max_files = block_files(allow_open_files())
    backend = DiskBackend(settings.data, max_open_files=max_files)
    store = Store(backend)
    nodes_file, network = settings.data / NODES_FILE, network_name(settings.bootstrap)
    try:
        cores = Corestore(
            store,
            on_error=lambda error: engine.storage_failed(error),
            on_core_requested=lambda name: engine.on_core_requested(name),
            on_misbehaviour=lambda public_key, _: swarm.report_misbehaviour(public_key),
        )
        replication = _Replication(cores)
        swarm = Swarm(
            key_pair=load_identity(settings.data),
            bootstrap=settings.bootstrap,
            host=settings.host,
            port=settings.port,
            max_peers=min(MAX_PEERS, settings.limits.max_peers),
            max_incoming=settings.limits.max_peers,
            relay_through=settings.relay,
            nodes=load_nodes(nodes_file, network),
            on_connection=replication.replicate,
            has_peers=lambda topic: engine.has_peers(topic),
            lacks_peers=lambda topic: engine.lacks_peers(topic),
            use_of=replication.use_of,
        )
    except BaseException:
        store.close()
        raise
    owners = Owners(store)
    online = swarm.node.bootstrapped
    engine = Engine(
        settings,
        swarm=swarm,
        cores=cores,
        emit=emit,
        online=online,
        claim=owners.claim,
        has_conflict=cores.has_conflict,
    )
    limits = Limits(
        settings.limits,
        cores=cores,
        data=settings.data,
        emit=engine.emit,
        door=swarm.slots,
        open_files=lambda: (backend.open_files, max_files),
        on_configured=lambda limits: engine.limit_blocks(limits.max_blocks),
    )
    engine.limits = limits
    BootstrapWatch(swarm.node, engine.emit, settings.bootstrap)
    try:
        await engine.start()
    except BaseException as error:
        await cores.close()
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise NetworkUnusable(f"cannot use UDP port {settings.port}: {reason}") from error
        raise
    limits.look()
    known = swarm.node.known_nodes
    saving = asyncio.create_task(keep_saving(nodes_file, network, known))
    try:
        yield Launched(engine, cores, limits, owners)
    finally:
        saving.cancel()
        if nodes := known():
            save_nodes(nodes_file, network, nodes)
        limits.close()
        await engine.stop()


class _Replication:
    """Replicates the cores over connections, and says how much each of them is used."""

    def __init__(self, cores: Corestore) -> None:
        self._cores = cores
        self._links: WeakKeyDictionary[Connection, Link] = WeakKeyDictionary()

    def replicate(self, connection: Connection) -> None:
        self._links[connection] = self._cores.replicate(connection)

    def use_of(self, connection: Connection) -> Use:
        link = self._links.get(connection)
        return Use(0, 0) if link is None else Use(link.muxer.useful, link.muxer.received)
