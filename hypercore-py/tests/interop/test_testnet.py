"""Official peers on a DHT of our own nodes: they store for them and relay between them."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from hypercore.aio.dht.node import DhtNode
from hypercore.aio.swarm.swarm import Swarm
from hypercore.crypto import discovery_key
from hypercore.testing.testnet import Testnet
from support.official_dht import official, until

pytestmark = pytest.mark.interop

A, B = "01" * 32, "02" * 32
TOPIC = discovery_key(b"\x01" * 32).hex()


def run(scene, nodes=5):
    async def play():
        async with Testnet(nodes) as net, official(net.bootstrap[0]) as peers:
            await scene(peers, net)

    asyncio.run(play())


@pytest.mark.parametrize(
    "opts", [{}, {"localConnection": False}, {"localConnection": False, "fastOpen": False}]
)
def test_official_client_reaches_the_official_server_through_our_nodes(opts):
    async def scene(peers, net):
        await peers("node", "s", seed=A)
        await peers("node", "c", seed=B)
        server = await peers("listen", "s")
        assert len(server["relays"]) == 3
        answer = await peers("connect", "c", publicKey=server["publicKey"], opts=opts, size=200_000)
        assert answer.get("received") == 200_000, answer
        await peers("unlisten", "s")
        assert (await peers("findPeer", "c", publicKey=server["publicKey"]))["nodes"] == 0

    run(scene)


def test_official_swarms_meet_on_our_nodes():
    async def scene(peers, net):
        a = await peers("swarm", "a", seed=A)
        b = await peers("swarm", "b", seed=B)
        await peers("join", "a", topic=TOPIC)
        await peers("join", "b", topic=TOPIC)
        await until(lambda: peers.heard("connection", "a") == [b["publicKey"]], "the connection")
        await until(lambda: peers.heard("connection", "b") == [a["publicKey"]], "the other side of it")
        await peers("leave", "a", topic=TOPIC)
        await peers("node", "n", seed="05" * 32)
        assert list((await peers("lookup", "n", topic=TOPIC))["peers"]) == [b["publicKey"]]

    run(scene)


def test_official_values_are_kept_by_our_nodes():
    async def scene(peers, net):
        await peers("node", "n", seed=A)
        await peers("node", "m", seed=B)
        put = await peers("mutablePut", "n", value="one", seq=1)
        assert await peers("mutableGet", "m", publicKey=put["publicKey"]) == {"value": "one", "seq": 1}
        await peers("mutablePut", "n", value="two", seq=2)
        assert await peers("mutableGet", "m", publicKey=put["publicKey"]) == {"value": "two", "seq": 2}
        await peers("mutablePut", "n", value="older", seq=1)
        assert await peers("mutableGet", "m", publicKey=put["publicKey"]) == {"value": "two", "seq": 2}
        stone = await peers("immutablePut", "n", value="stone")
        assert await peers("immutableGet", "m", hash=stone["hash"]) == {"value": "stone"}

    run(scene)


def test_ours_and_theirs_meet_on_our_nodes():
    async def scene(peers, net):
        theirs = await peers("swarm", "s", seed=A)
        async with Swarm(bootstrap=net.bootstrap, host="127.0.0.1") as ours:
            await ours.join(bytes.fromhex(TOPIC)).flushed()
            await peers("join", "s", topic=TOPIC)
            await until(lambda: peers.heard("connection", "s") == [ours.public_key.hex()], "the connection")
            # The two sides have it at different moments, half a round trip apart
            await until(lambda: ours.connections, "our side of it")
            assert [c.remote_public_key.hex() for c in ours.connections] == [theirs["publicKey"]]

    run(scene)


def test_mixed_network_of_our_and_official_nodes_works():
    async def play():
        async with official(3) as first, AsyncExitStack() as stack:
            ours = [DhtNode(bootstrap=first.bootstrap, host="127.0.0.1", ephemeral=False) for _ in range(3)]
            for node in ours:
                await stack.enter_async_context(node)
                assert await node.bootstrapped(timeout=10)
            await first("node", "s", seed=A)
            await first("node", "c", seed=B)
            server = await first("listen", "s")
            answer = await first("connect", "c", publicKey=server["publicKey"], size=1000)
            assert answer.get("received") == 1000, answer
            await first("announce", "s", topic=TOPIC)
            for node in ours:
                [record] = await node.client.lookup(bytes.fromhex(TOPIC))
                assert record.public_key.hex() == server["publicKey"]
            assert all(len(node.core.table) >= 4 for node in ours)

    asyncio.run(play())
