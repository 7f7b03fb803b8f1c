"""The swarm of the gateway: joined when the first block must come from a peer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.cores.session import Hypercore
from hypercore.aio.swarm.peer_discovery import PeerDiscovery
from hypercore.aio.swarm.swarm import Swarm
from hypercore.core import memory_store
from hypercore.crypto import KeyPair, discovery_key
from hypercore.dht.address import BootstrapNode
from hypercore.errors import LocalProtocolError

from ..engine.bootstrap import BootstrapWatch

IDLE_SECONDS = 0.5
"""Seconds that a core stays in memory after its last use."""


class Network:
    """Cores from peers, in memory. Nothing is announced: the gateway is a reader like any other."""

    def __init__(self, bootstrap: Sequence[BootstrapNode], *, host: str = "0.0.0.0") -> None:
        self.cores = Corestore(memory_store(), idle_seconds=IDLE_SECONDS)
        self._bootstrap = bootstrap
        self._host = host
        self._swarm: Swarm | None = None
        self._starting = asyncio.Lock()

    async def join(self, key: bytes) -> PeerDiscovery:
        """Look for peers that have the core of `key`. Raises OSError if there is no socket to be had."""
        async with self._starting:
            if self._swarm is None:
                swarm = Swarm(
                    key_pair=KeyPair.from_seed(os.urandom(32)),
                    bootstrap=self._bootstrap,
                    host=self._host,
                    on_connection=self.cores.replicate,
                )
                BootstrapWatch(swarm.node, lambda _: None, self._bootstrap)  # its events are logged
                await swarm.start()
                self._swarm = swarm
        return self._swarm.join(discovery_key(key), server=False, client=True)

    def open(self, key: bytes) -> Hypercore:
        """Return a session on the core of `key`, which peers of the swarm replicate."""
        return self.cores.get(key)

    def remove(self, key: bytes) -> None:
        """Drop a core from memory, unless it is in use."""
        try:
            self.cores.remove(key)
        except LocalProtocolError:
            return

    async def close(self) -> None:
        """Leave the swarm and close all cores."""
        if self._swarm is not None:
            await self._swarm.close()
        await self.cores.close()
