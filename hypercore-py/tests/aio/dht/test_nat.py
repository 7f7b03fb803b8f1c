"""Connecting through NATs that let in only whom we have sent something to."""

import asyncio
import os
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from hypercore.aio.dht import server_announcer
from hypercore.crypto import KeyPair
from hypercore.dht import punch_probes, server_core
from hypercore.dht.constants import Firewall
from hypercore.dht.punch_probes import PUNCH
from hypercore.errors import PeerUnreachable
from hypercore.testing.testnet import Testnet
from support.natted import natted_node

SERVER = KeyPair.from_seed(b"\x01" * 32)


@asynccontextmanager
async def behind_nat(net, public_host):
    """A node behind a NAT of its own."""
    async with natted_node(net.bootstrap, public_host) as nat:
        yield nat.node, nat


def run(scene):
    async def play():
        async with (
            Testnet(6) as net,
            behind_nat(net, "127.0.5.1") as (server, server_nat),
            behind_nat(net, "127.0.5.2") as (client, client_nat),
        ):
            await scene(server, server_nat, client, client_nat)

    asyncio.run(play())


async def until(condition, seconds=20.0):
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


async def hear_back(connection, size):
    heard, data = bytearray(), os.urandom(size)
    connection.on_message = heard.extend
    for at in range(0, size, 50_000):
        connection.send(data[at : at + 50_000])
    await until(lambda: len(heard) >= size)
    assert heard == data


class Echo:
    def __init__(self):
        self.connections = []

    def __call__(self, connection):
        self.connections.append(connection)
        connection.on_message = connection.send


def test_node_behind_a_nat_knows_its_public_address():
    async def scene(server, server_nat, client, client_nat):
        assert (server.host, server.port) == server_nat.public
        assert server.profile().firewall == Firewall.CONSISTENT
        client_nat.node.socket.send(b"\0", server_nat.public)
        await until(lambda: server_nat.refused == [client_nat.public])

    run(scene)


@pytest.mark.parametrize("fast_open", [True, False])
def test_hole_is_punched_between_two_nats(fast_open):
    async def scene(server, server_nat, client, client_nat):
        echo = Echo()
        listening = await server.listen(SERVER, echo)
        send, punches = client.socket.send, []

        def count(data, address, ttl=None):
            if data == PUNCH and ttl is None:
                punches.append(address)
            return send(data, address, ttl)

        client.socket.send = count
        connection = await client.connect(SERVER.public_key, listening.relay_addresses, fast_open=fast_open)
        assert connection.remote_address == server_nat.public
        await hear_back(connection, 300_000)
        [theirs] = echo.connections
        assert theirs.remote_address == client_nat.public
        # Fast open saves waiting for the second round and its first tick
        assert bool(punches) is not fast_open

    run(scene)


def test_both_dial_each_other_through_their_nats():
    async def scene(server, server_nat, client, client_nat):
        nodes = (server, client)
        keys = [KeyPair.from_seed(bytes([n]) * 32) for n in (1, 2)]
        echoes = [Echo(), Echo()]
        for node, key, echo in zip(nodes, keys, echoes, strict=True):
            await node.listen(key, echo)
        ours, theirs = await asyncio.gather(
            server.connect(keys[1].public_key), client.connect(keys[0].public_key)
        )
        await asyncio.gather(hear_back(ours, 10_000), hear_back(theirs, 10_000))

    run(scene)


def test_server_is_reached_again_after_its_router_restarted(monkeypatch):
    monkeypatch.setattr(server_announcer, "PING_SECONDS", 0.1)

    async def scene(server, server_nat, client, client_nat):
        listening = await server.listen(SERVER, Echo())
        before = server_nat.public
        server_nat.rebind()
        assert server_nat.public != before
        await until(lambda: (server.host, server.port) == server_nat.public)
        await until(lambda: {r.peer_address for r in listening._relays.current} == {server_nat.public})
        connection = await client.connect(SERVER.public_key, listening.relay_addresses)
        await hear_back(connection, 1000)

    run(scene)


def test_punching_at_a_host_that_is_gone_fails_in_time(monkeypatch):
    monkeypatch.setattr(punch_probes, "TICK_SECONDS", 0.1)
    for name in ("PATH_SECONDS", "PUNCH_SECONDS"):
        monkeypatch.setattr(server_core, name, 1.5)

    async def scene(server, server_nat, client, client_nat):
        listening = await server.listen(SERVER, Echo())
        relays = listening.relay_addresses
        # Handshakes still come through the relays, but nothing goes from NAT to NAT
        send = server_nat.send
        server_nat.send = server.socket.send = lambda data, address, ttl=None: (
            True if address == client_nat.public else send(data, address, ttl)
        )
        punched = client_nat.send
        client.socket.send = lambda data, address, ttl=None: (
            True if address == server_nat.public else punched(data, address, ttl)
        )
        start = monotonic()
        with pytest.raises(PeerUnreachable):
            await client.connect(SERVER.public_key, relays)
        assert 0.8 < monotonic() - start < 10
        await until(lambda: not server._servers[0]._arrivals)
        assert not client._punch_listeners

    run(scene)
