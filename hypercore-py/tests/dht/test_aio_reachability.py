"""Whether strangers reach us: asked of nodes on many addresses of this machine."""

import asyncio

import pytest

from hypercore.aio import dht as dht_module
from hypercore.aio import reachability
from hypercore.aio.dht import DhtNode
from hypercore.crypto import KeyPair
from hypercore.dht.address import Address
from hypercore.dht.constants import Firewall
from hypercore.dht.node import NodeEvent


class Hosts:
    """Storing nodes, each on an address of its own: 127.0.1.1, 127.0.1.2 and so on."""

    def __init__(self, count):
        self.nodes = []
        self._count = count

    async def __aenter__(self):
        for number in range(1, self._count + 1):
            node = DhtNode(bootstrap=self.bootstrap, host=f"127.0.1.{number}", ephemeral=False)
            await node.start()
            self.nodes.append(node)
            assert await node.bootstrapped(within=10)
        return self

    async def __aexit__(self, *_):
        for node in self.nodes:
            await node.close()

    @property
    def bootstrap(self):
        return [f"127.0.1.1:{self.nodes[0].local_port}"] if self.nodes else []


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(reachability, "WAIT_SECONDS", 0.15)


def forget_all_but(node, known):
    """As if the node had talked to those only."""
    for host in [f"127.0.1.{number}" for number in range(1, 60)]:
        if host not in known:
            node._contacts.delete(host)


def run(scene, hosts=14, **options):
    async def play():
        async with Hosts(hosts) as net:
            node = DhtNode(bootstrap=net.bootstrap, host="127.0.0.1", **options)
            await node.start()
            assert await node.bootstrapped(within=10)
            try:
                await scene(net, node)
            finally:
                await node.close()

    asyncio.run(play())


def test_node_that_strangers_reach_is_not_firewalled():
    async def scene(net, node):
        events = []
        node.on_event.append(events.append)
        assert node.firewalled and node.surroundings().public is None
        forget_all_but(node, ["127.0.1.1"])
        assert await node.test_reachability() is True
        assert not node.firewalled and events == [NodeEvent.REACHABILITY_CHANGED]
        around = node.surroundings()
        assert around.public == Address("127.0.0.1", node.local_port) and around.firewall == Firewall.OPEN
        server = await node.listen(KeyPair.from_seed(bytes(32)), lambda connection: None)
        assert server.relay_addresses[0] == around.public
        assert len(node.endpoint.sockets) == 1, "the socket that asked is closed"

    run(scene)


def test_node_behind_a_firewall_is_found_out():
    async def scene(net, node):
        through = node.endpoint.on_message
        forget_all_but(node, ["127.0.1.1"])
        known = {"127.0.1.1"}
        node.endpoint.on_message = lambda data, source, socket: (
            through(data, source, socket) if source[0] in known else None
        )
        assert await node.test_reachability() is False
        assert node.firewalled
        node._firewalled = False
        forget_all_but(node, ["127.0.1.1"])
        assert await node.test_reachability() is False
        assert node.firewalled, "it was taken to be open"

    run(scene)


def test_nothing_is_told_without_strangers():
    async def scene(net, node):
        assert await node.test_reachability() is None
        assert node.firewalled

    run(scene, hosts=6)


def test_liars_do_not_make_us_reachable():
    """Nodes that answer from where nobody was asked prove nothing."""

    async def scene(net, node):
        test = reachability.ReachabilityTest(node, lambda host: True)
        test._strangers = {"9.9.9.9": Address("9.9.9.9", 9)}
        for source in (Address("9.9.9.9", 10), Address("8.8.8.8", 9)):
            test.heard(b"\x13\0", source)
        test.heard(b"\x03\0", Address("9.9.9.9", 9))
        assert test._through == set()
        test.heard(b"\x13\0", Address("9.9.9.9", 9))
        assert test._through == {"9.9.9.9"}

    run(scene, hosts=1)


@pytest.mark.parametrize(
    ("options", "firewalled"), [({}, False), ({"firewalled": True}, True), ({"firewalled": False}, False)]
)
def test_it_is_found_out_unless_it_is_said(monkeypatch, options, firewalled):
    monkeypatch.setattr(dht_module, "REACHABILITY_DELAY_SECONDS", 0.05)

    async def scene(net, node):
        if node._finds_out:
            forget_all_but(node, ["127.0.1.1"])
        await asyncio.sleep(1.0)
        assert node.firewalled is firewalled

    run(scene, **options)


def test_contacts_are_bounded():
    async def scene(net, node):
        for number in range(3 * dht_module.MAX_CONTACTS):
            node.core.send(b"\0\0", Address(f"127.9.{number >> 8 & 255}.{number & 255}", 9))
        node.flush()
        assert len(node._contacts) <= 2 * dht_module.MAX_CONTACTS

    run(scene, hosts=1)
