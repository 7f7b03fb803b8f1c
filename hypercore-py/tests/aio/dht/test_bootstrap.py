"""How a node finds others, and becomes one that stores for them."""

import asyncio
import socket

import pytest

from hypercore.aio.dht import persistence
from hypercore.aio.dht.node import DhtNode
from hypercore.dht.address import Address
from hypercore.dht.constants import Command
from hypercore.dht.node import NodeEvent
from hypercore.dht.rpc import OutgoingRequest
from support.aio_nodes import TOPIC, run, until

# --- standing among others --------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick_requests")
def test_a_node_that_knows_others_needs_no_bootstrap_node():
    async def scene(net):
        first = await net.create_node()
        await until(lambda: len(first.known_nodes()) >= 3)
        no_peer = [f"127.0.0.1:{await closed_port(net)}"]
        async with DhtNode(bootstrap=no_peer, host="127.0.0.1", nodes=first.known_nodes()) as second:
            assert await second.bootstrapped(timeout=20)
            assert set(second.known_nodes()) & set(first.known_nodes())

    run(scene)


async def closed_port(net):
    """A port where no peer is any more."""
    async with DhtNode(bootstrap=net.bootstrap, host="127.0.0.1") as node:
        return node.local_port


def test_a_node_whose_address_stays_open_stores_for_others_until_that_ends(monkeypatch):
    monkeypatch.setattr(persistence, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(persistence, "STABLE_SECONDS", 0.3)
    monkeypatch.setattr(persistence, "is_bogon", lambda host: False)

    async def scene(net):
        node, asker = await net.create_node(), await net.create_node()
        here = Address("127.0.0.1", node.local_port)
        lookup = OutgoingRequest(here, Command.LOOKUP, target=TOPIC, force=True)
        node._reachability.firewalled = False
        await until(lambda: not node.ephemeral)
        reply = await asker.client.request(lookup)
        assert reply.error == 0 and reply.id == node.core.own_id
        assert node.known_nodes()
        node._reachability.firewalled = True
        await until(lambda: node.ephemeral)
        reply = await asker.client.request(lookup)
        assert reply.error and reply.id is None

    run(scene)


def test_a_bootstrap_name_that_does_not_resolve_is_reported_and_looked_up_again(monkeypatch):
    async def scene(net):
        loop = asyncio.get_running_loop()
        lookup, known = loop.getaddrinfo, []

        async def getaddrinfo(host, port, **options):
            if host == "dht.example":
                if not known:
                    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
                return await lookup("127.0.0.1", port, **options)
            return await lookup(host, port, **options)

        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        port = net.nodes[0].local_port
        events = []
        node = DhtNode(bootstrap=[f"dht.example:{port}"], host="127.0.0.1")
        node.subscribe(events.append)
        async with node:
            await until(lambda: NodeEvent.NAME_UNRESOLVED in events)
            assert node.unresolved == {"dht.example": "Name or service not known"}
            known.append(True)
            assert await node.bootstrapped(timeout=10)
            assert node.unresolved == {} and events.count(NodeEvent.NAME_UNRESOLVED) == 1

    run(scene)
