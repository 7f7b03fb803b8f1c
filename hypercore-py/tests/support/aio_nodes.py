"""Scenes with nodes on real sockets, over a private DHT in this process."""

import asyncio
from time import monotonic

from hypercore.testing.testnet import Testnet

TOPIC = b"\x21" * 32


def run(scene, nodes=4):
    async def play():
        async with Testnet(nodes) as net:
            await scene(net)

    asyncio.run(play())


async def until(condition, seconds=20.0):
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)
