"""A DHT of one's own on this machine, so that nothing of a test reaches the public one.

    async with Testnet() as net, Swarm(bootstrap=net.bootstrap) as swarm:
        ...

Its nodes store and relay like those of the public network; ours and official peers can use them. The other
modules of this package need no event loop; this one runs real nodes on real sockets.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from ..aio.dht.node import DhtNode

DEFAULT_SIZE = 4
"""Nodes, the first included. Servers announce at three of them."""

START_SECONDS = 10.0
"""Seconds within which a node must have found the others."""


class Testnet:
    """Nodes that others may rely on, from `async with` to its end. What hyperdht ships as `testnet.js`.

    The first of the `size` nodes is on `port`. A port that is taken raises OSError.
    """

    __test__ = False  # for pytest, to which every class of this name looks like tests

    def __init__(self, size: int = DEFAULT_SIZE, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.size = size
        self.host = host
        self.port = port
        self.nodes: list[DhtNode] = []
        self._stack = AsyncExitStack()

    @property
    def bootstrap(self) -> list[str]:
        """`host:port` of the first node, an argument of `Swarm` and `DhtNode`."""
        return [f"{self.host}:{self.nodes[0].local_port}"]

    async def __aenter__(self) -> Testnet:
        async with self._stack as stack:
            for _ in range(self.size):
                await self._add(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def create_node(self) -> DhtNode:
        """A node that uses the network and is no part of it. It is closed with it, before the others."""
        node = DhtNode(bootstrap=self.bootstrap, host=self.host)
        await self._enter(self._stack, node)
        return node

    async def _add(self, stack: AsyncExitStack) -> None:
        first = not self.nodes
        node = DhtNode(
            bootstrap=[] if first else self.bootstrap,
            host=self.host,
            port=self.port if first else 0,
            ephemeral=False,
        )
        self.nodes.append(node)
        await self._enter(stack, node)

    async def _enter(self, stack: AsyncExitStack, node: DhtNode) -> None:
        await stack.enter_async_context(node)
        # The first one finds no other node
        if len(self.nodes) > 1 and not await node.bootstrapped(timeout=START_SECONDS):
            raise TimeoutError(f"node {len(self.nodes)} of the testnet found no other node")
