"""Assembles an engine over a data directory, and runs it.

Parts and what they use, from the bottom (`assemble` makes them in this order):

    Store       blocks and records on the disk
    Owners      the store: which key a core belongs to
    EventBuffer the caller's `emit`
    SeedTable   no other part; has the keys, in memory or cold
    Corestore   the store. Asks the engine to load a cold key, reports misbehaving peers to the swarm
    Swarm       the corestore, for every connection; the seed table, which topics lack peers
    Limits      the corestore, whose downloads they pause, the slots of the swarm, the event buffer
    Engine      all of them
    BlindPeer   the corestore; the engine, for announced cores; the limits, for room
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import NamedTuple
from weakref import WeakKeyDictionary

from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.cores.link import Link
from hypercore.aio.net.secret_connection import SecretConnection
from hypercore.aio.swarm.swarm import Swarm
from hypercore.connection import Connection
from hypercore.core import Store
from hypercore.errors import HypercoreError
from hypercore.storage.disk import DiskBackend
from hypercore.swarm.extra_dials import Use
from hypercore.swarm.policy import MAX_PEERS

from .blind_peer_host import EngineHost
from .blindpeer.blind_peer import BlindPeer
from .bootstrap import BootstrapWatch
from .engine import Engine
from .limits.limits import Limits
from .limits.rlimit import allow_open_files, block_files
from .model.event_buffer import EventBuffer
from .model.events import Event
from .removal.owners import Owners
from .seeds.table import SeedTable
from .settings.blind_peer import BanList
from .settings.dht_nodes import NODES_FILE, keep_saving, load_nodes, network_name, save_nodes
from .settings.identity import load_identity
from .settings.settings import EngineSettings


class NetworkUnusable(HypercoreError):
    """The configured UDP port is in use."""

    code = "NETWORK_UNUSABLE"


class EngineParts(NamedTuple):
    """An engine and what it is built on."""

    engine: Engine
    cores: Corestore
    swarm: Swarm
    limits: Limits
    owners: Owners
    events: EventBuffer
    bootstrap: BootstrapWatch
    blind_peer: BlindPeer | None


@asynccontextmanager
async def running_engine(settings: EngineSettings, emit: Callable[[Event], None]) -> AsyncIterator[Engine]:
    """Context manager: a running engine, shut down on exit.

    Raises StorageError when the directory cannot be used, NetworkUnusable when the port cannot.
    """
    async with launched_parts(settings, emit) as parts:
        yield parts.engine


@asynccontextmanager
async def launched_parts(
    settings: EngineSettings, emit: Callable[[Event], None]
) -> AsyncIterator[EngineParts]:
    """Like `running_engine`, with access to the parts below the engine."""
    parts = assemble(settings, emit)
    parts.bootstrap.start()
    try:
        await parts.engine.start()
    except BaseException as error:
        await parts.cores.close()
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise NetworkUnusable(f"cannot use UDP port {settings.port}: {reason}") from error
        raise
    if parts.blind_peer is not None:
        parts.swarm.start_listening()
        parts.blind_peer.start()
    nodes_file, network = settings.data / NODES_FILE, network_name(settings.bootstrap)
    known = parts.swarm.node.known_nodes
    saving = asyncio.create_task(keep_saving(nodes_file, network, known))
    try:
        yield parts
    finally:
        saving.cancel()
        if nodes := known():
            save_nodes(nodes_file, network, nodes)
        if parts.blind_peer is not None:
            parts.blind_peer.close()
        await parts.engine.stop()
        parts.bootstrap.stop()


def assemble(settings: EngineSettings, emit: Callable[[Event], None]) -> EngineParts:
    """Make an engine and its parts. Nothing runs before `Engine.start`. Raises StorageError."""
    max_files = block_files(allow_open_files())
    backend = DiskBackend(settings.data, max_open_files=max_files)
    with ExitStack() as on_failure:
        store = Store(backend)
        on_failure.callback(store.close)
        events, seeds, owners = EventBuffer(emit), SeedTable(), Owners(store)
        # These use objects that are made below: no callback is called before the engine is started
        cores = Corestore(
            store,
            on_error=lambda error: engine.storage_failed(error),
            on_core_requested=lambda name: requested(name),
            on_misbehaviour=lambda public_key, _: swarm.report_misbehaviour(public_key),
        )
        bans = settings.blind_peer.bans if settings.blind_peer is not None else BanList()
        replication = _Replication(cores, lambda: blind_peer)
        swarm = Swarm(
            key_pair=load_identity(settings.data),
            bootstrap=settings.bootstrap,
            host=settings.host,
            port=settings.port,
            max_peers=min(MAX_PEERS, settings.limits.max_peers),
            max_incoming=settings.limits.max_peers,
            relay_through=settings.relay,
            nodes=load_nodes(settings.data / NODES_FILE, network_name(settings.bootstrap)),
            firewall=bans.has_key,
            refuses_host=bans.has_host,
            on_connection=replication.replicate,
            has_peers=seeds.has_peers,
            lacks_peers=seeds.lacks_peers,
            use_of=replication.use_of,
        )
        bootstrap = BootstrapWatch(swarm.node, events.emit, settings.bootstrap)
        limits = Limits(
            settings.limits,
            cores=cores,
            data=settings.data,
            emit=events.emit,
            slots=swarm.slots,
            open_files=lambda: (backend.open_files, max_files),
        )
        engine = Engine(
            settings,
            swarm=swarm,
            cores=cores,
            seeds=seeds,
            limits=limits,
            events=events,
            online=swarm.node.bootstrapped if settings.blind_peer is None else lambda: _reachable(swarm),
            claim=owners.claim,
            blind_peer=lambda: None if blind_peer is None else blind_peer.status(),
        )
        blind_peer: BlindPeer | None = None
        if settings.blind_peer is not None:
            blind_peer = BlindPeer(
                settings.blind_peer,
                cores=cores,
                host=EngineHost(engine, limits, owners),
                emit=events.emit,
                max_blocks=settings.limits.max_blocks,
            )

        def requested(name: bytes) -> None:
            engine.on_core_requested(name)
            if blind_peer is not None:
                blind_peer.on_core_requested(name)

        on_failure.pop_all()
    return EngineParts(engine, cores, swarm, limits, owners, events, bootstrap, blind_peer)


async def _reachable(swarm: Swarm) -> None:
    """Return when peers can dial our key."""
    await swarm.node.bootstrapped()
    await swarm.listening()


class _Replication:
    """Replicates the cores over connections, and counts the use of each connection."""

    def __init__(self, cores: Corestore, blind_peer: Callable[[], BlindPeer | None]) -> None:
        self._cores = cores
        self._blind_peer = blind_peer
        self._links: WeakKeyDictionary[Connection, Link] = WeakKeyDictionary()

    def replicate(self, connection: SecretConnection) -> None:
        link = self._links[connection] = self._cores.replicate(connection)
        blind_peer = self._blind_peer()
        if blind_peer is not None:
            blind_peer.attach(link)
            connection.add_close_listener(lambda: blind_peer.detach(link))

    def use_of(self, connection: Connection) -> Use:
        link = self._links.get(connection)
        return Use(0, 0) if link is None else Use(link.muxer.useful, link.muxer.received)
