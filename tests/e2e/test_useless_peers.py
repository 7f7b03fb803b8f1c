"""Peers that were announced under a drive's topic before its publisher, and are of no use."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from hypercore.aio.swarm.swarm import Swarm
from hypercore.crypto import discovery_key

from ..support.node import Publisher, Testnet
from ..support.seed_process import SeedProcess

pytestmark = pytest.mark.interop

MAX_PEERS = 2
BLOCKS = 20


async def engine_is_full(peers: list[Swarm]) -> None:
    """Returns when the engine has dialled each of them, and so as many peers as it may."""
    async with asyncio.timeout(30):
        while not all(peer.connections for peer in peers):
            await asyncio.sleep(0.05)


def test_idle_peers_in_all_places_do_not_keep_a_drive_from_its_publisher(
    testnet: Testnet, tmp_path: Path
) -> None:
    """The publisher waits to be dialled, as one does that looks for no peer."""
    bootstrap = testnet.bootstrap

    async def act() -> None:
        async with AsyncExitStack() as swarms:
            peers = [
                await swarms.enter_async_context(Swarm(bootstrap=bootstrap, host="127.0.0.1"))
                for _ in range(MAX_PEERS)
            ]
            topic = discovery_key(bytes.fromhex(made["key"]))
            for peer in peers:
                await peer.join(topic, client=False).flushed()
            farm = SeedProcess(tmp_path / "farm", bootstrap, made["key"], "--max-peers", str(MAX_PEERS))
            stack.callback(farm.dispose)
            await engine_is_full(peers)
            await asyncio.to_thread(publisher.ask, "join", name="thing", client=False)
            await asyncio.to_thread(farm.wait_synced, made["key"], BLOCKS)

    with ExitStack() as stack:
        publisher = Publisher(tmp_path / "publisher", bootstrap)
        stack.callback(publisher.dispose)
        publisher.make("thing", "core")
        made = publisher.append("thing", [(f"block {i}", 1_000) for i in range(BLOCKS)])
        asyncio.run(act())
