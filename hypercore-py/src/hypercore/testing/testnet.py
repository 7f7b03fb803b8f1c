"""A private DHT of a few nodes in this process: for tests, and for farms that talk to nobody else.

The nodes store and relay like those of the public network; ours and official peers can use them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..aio.dht import DhtNode

START_SECONDS = 10.0
"""How long a node may take to find the others."""


class LocalDht:
    """Made by `local_dht`. `bootstrap` is what other nodes and swarms are to be given."""

    def __init__(self, nodes: list[DhtNode], host: str) -> None:
        self.nodes = nodes
        self.bootstrap = [f"{host}:{nodes[0].local_port}"] if nodes else []
        self._host = host
        self._guests: list[DhtNode] = []

    async def create_node(self) -> DhtNode:
        """A node that uses the network and is no part of it."""
        node = DhtNode(bootstrap=self.bootstrap, host=self._host)
        await node.start()
        self._guests.append(node)
        await node.bootstrapped(within=START_SECONDS)
        return node

    async def close(self) -> None:
        """Guests first, so that they can take back their announcements."""
        for node in [*self._guests, *reversed(self.nodes)]:
            await node.close()


@asynccontextmanager
async def local_dht(size: int = 5, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[LocalDht]:
    """`size` nodes on `host`, the first of them on `port`. Closed at the end of the block."""
    nodes: list[DhtNode] = []
    try:
        for index in range(size):
            node = DhtNode(
                bootstrap=[f"{host}:{nodes[0].local_port}"] if nodes else [],
                host=host,
                port=0 if index else port,
                ephemeral=False,
            )
            nodes.append(node)
            await node.start()
            await node.bootstrapped(within=START_SECONDS)
        net = LocalDht(nodes, host)
        yield net
        await net.close()
    finally:
        for node in nodes:
            await node.close()
