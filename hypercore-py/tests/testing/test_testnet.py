"""The private DHT that is shipped for tests."""

from __future__ import annotations

import asyncio

import pytest

from hypercore.aio import DhtNode, Swarm
from hypercore.testing.testnet import Testnet

TOPIC = bytes(range(32))


def test_swarms_of_a_testnet_find_each_other_and_no_other_peer() -> None:
    async def scene() -> None:
        met = asyncio.get_running_loop().create_future()
        async with (
            Testnet() as net,
            Swarm(bootstrap=net.bootstrap, host="127.0.0.1", on_connection=met.set_result) as one,
            Swarm(bootstrap=net.bootstrap, host="127.0.0.1") as other,
        ):
            await one.join(TOPIC, client=False).flushed()
            other.join(TOPIC, server=False)
            assert (await asyncio.wait_for(met, 10)).remote_public_key == other.public_key
            assert {node.host for node in net.nodes} == {"127.0.0.1"}

    asyncio.run(scene())


def test_nodes_are_known_to_each_other() -> None:
    async def scene() -> None:
        async with Testnet(3) as net:
            assert len(net.nodes) == 3
            async with DhtNode(bootstrap=net.bootstrap, host="127.0.0.1") as node:
                assert await node.bootstrapped(timeout=10)

    asyncio.run(scene())


def test_a_testnet_whose_port_is_taken_says_so_and_leaves_nothing_open() -> None:
    """A socket left open would be an error here, as every warning is."""

    async def scene() -> None:
        async with Testnet(1) as net:
            with pytest.raises(OSError, match="in use"):
                await Testnet(port=net.nodes[0].local_port).__aenter__()

    asyncio.run(scene())
