"""Whether peers reach us: asked of nodes on many addresses of this machine."""

import asyncio

import pytest

from hypercore.aio.dht import reachability, reachability_watch
from hypercore.aio.dht.node import DhtNode
from hypercore.aio.net.udp_socket import UdpSocket
from hypercore.crypto import KeyPair
from hypercore.dht.address import Address
from hypercore.dht.constants import Firewall
from hypercore.dht.node import NodeEvent

ALL_HOSTS = [f"127.0.1.{number}" for number in range(1, 60)]


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
            assert await node.bootstrapped(timeout=10)
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


def discard_all_but(node, known):
    """As if the node had talked to those only."""
    for host in ALL_HOSTS:
        if host not in known:
            node._reachability._contacts.delete(host)


def run(scene, hosts=14, **options):
    async def play():
        async with Hosts(hosts) as net:
            node = DhtNode(bootstrap=net.bootstrap, host="127.0.0.1", **options)
            await node.start()
            assert await node.bootstrapped(timeout=10)
            try:
                await scene(net, node)
            finally:
                await node.close()

    asyncio.run(play())


class StatefulFirewall:
    """Lets in to each socket only what comes from hosts which that socket has sent something to.

    `forwarded` is a port that is open to every peer.
    """

    def __init__(self, node, monkeypatch, forwarded=None):
        self._opened = set()
        self._forwarded = forwarded
        messages, send = node.endpoint._messages, UdpSocket.send
        deliver = messages.put

        def through(data, source, udp):
            if udp.local_address[1] == self._forwarded or (udp, source[0]) in self._opened:
                deliver(data, source, udp)

        def recorded(udp, data, address, ttl=None):
            self._opened.add((udp, address[0]))
            return send(udp, data, address, ttl)

        self._opened |= {(node.socket, host) for host in ALL_HOSTS}
        monkeypatch.setattr(messages, "put", through)
        monkeypatch.setattr(UdpSocket, "send", recorded)

    def discard_all_but(self, node, known):
        """As if the node had talked to those only."""
        discard_all_but(node, known)
        self._opened = {(udp, host) for udp, host in self._opened if host in known}


def test_node_that_peers_reach_is_not_firewalled():
    async def scene(net, node):
        events = []
        node.subscribe(events.append)
        assert node.firewalled and node.profile().public is None
        assert await node.test_reachability() is True
        assert not node.firewalled and events == [NodeEvent.REACHABILITY_CHANGED]
        around = node.profile()
        assert around.public == Address("127.0.0.1", node.local_port) and around.firewall == Firewall.OPEN
        server = await node.listen(KeyPair.from_seed(bytes(32)), lambda connection: None)
        assert server.relay_addresses[0] == around.public
        assert len(node.endpoint.sockets) == 1, "sockets of the test are closed"

    run(scene, hosts=4)


def test_node_behind_a_firewall_is_found_out(monkeypatch):
    async def scene(net, node):
        firewall = StatefulFirewall(node, monkeypatch)
        firewall.discard_all_but(node, ["127.0.1.1"])
        assert await node.test_reachability() is False
        assert node.firewalled
        node._reachability.firewalled = False
        firewall.discard_all_but(node, ["127.0.1.1"])
        assert await node.test_reachability() is False
        assert node.firewalled, "it was taken to be open"

    run(scene)


def test_port_that_a_peer_has_opened_in_the_router_is_found_by_asking_peers(monkeypatch):
    async def scene(net, node):
        firewall = StatefulFirewall(node, monkeypatch, forwarded=node.local_port)
        firewall.discard_all_but(node, ["127.0.1.1"])
        assert await node.test_reachability() is True
        assert not node.firewalled

    run(scene)


def test_without_peers_a_forwarded_port_is_not_found(monkeypatch):
    async def scene(net, node):
        StatefulFirewall(node, monkeypatch, forwarded=node.local_port)
        assert await node.test_reachability() is False

    run(scene, hosts=6)


def test_fewer_hosts_than_could_lie_decide_nothing():
    async def scene(net, node):
        assert await node.test_reachability() is None
        assert node.firewalled

    run(scene, hosts=2)


def test_liars_do_not_make_us_reachable():
    """Nodes that answer from where no peer was asked prove nothing."""

    async def scene(net, node):
        test = reachability.ReachabilityTest(node.context, lambda host: True)
        test._new_hosts = {"9.9.9.9": Address("9.9.9.9", 9)}
        for source in (Address("9.9.9.9", 10), Address("8.8.8.8", 9)):
            test.heard(b"\x13\0", source)
        test.heard(b"\x03\0", Address("9.9.9.9", 9))
        assert test._through == set()
        test.heard(b"\x13\0", Address("9.9.9.9", 9))
        assert test._through == {"9.9.9.9"}
        test._asked = {"9.9.9.9"}
        test._through.clear()
        for data, source in ((b"\x13\0", ("8.8.8.8", 9)), (b"\x03\0", ("9.9.9.9", 9)), (b"", ("9.9.9.9", 9))):
            test._on_fresh_message(data, source, node.socket)
        assert test._through == set() and not test._enough.is_set()

    run(scene, hosts=1)


@pytest.mark.parametrize(
    ("options", "firewalled"), [({}, False), ({"firewalled": True}, True), ({"firewalled": False}, False)]
)
def test_it_is_found_out_unless_it_is_given(monkeypatch, options, firewalled):
    monkeypatch.setattr(reachability_watch, "REACHABILITY_DELAY_SECONDS", 0.05)

    async def scene(net, node):
        if node._reachability.measured:
            discard_all_but(node, ["127.0.1.1"])
        if node._reachability.measured:
            async with asyncio.timeout(20):
                while node.firewalled is not firewalled:
                    await asyncio.sleep(0.01)
        else:
            await asyncio.sleep(1.0)
            assert node.firewalled is firewalled

    run(scene, **options)


@pytest.mark.slow
def test_contacts_are_bounded():
    async def scene(net, node):
        for number in range(3 * reachability_watch.MAX_CONTACTS):
            node.core.send(b"\0\0", Address(f"127.9.{number >> 8 & 255}.{number & 255}", 9))
        node.flush()
        assert len(node._reachability._contacts) <= 2 * reachability_watch.MAX_CONTACTS

    run(scene, hosts=1)
