"""Nodes, servers and clients of ours on real sockets, over a private DHT in this process."""

import asyncio
import os
from time import monotonic

import pytest

from hypercore.aio.dht import server_announcer
from hypercore.aio.dht.node import MAX_REMEMBERED_RELAYS, DhtNode
from hypercore.aio.net.interfaces import local_addresses
from hypercore.aio.race import race
from hypercore.aio.timer import DeadlineTimer
from hypercore.crypto import KeyPair, blake2b_256
from hypercore.dht.address import Address
from hypercore.dht.constants import Command, Firewall, Mode
from hypercore.dht.messages import Handshake, HolepunchInfo, NoisePayload, RelayInfo, UdxInfo
from hypercore.dht.node import NodeEvent
from hypercore.dht.noise import ServerHandshake
from hypercore.errors import (
    ConnectionClosed,
    LocalProtocolError,
    PeerNotFound,
    PeerUnreachable,
)
from support.aio_nodes import TOPIC, run, until

SERVER = KeyPair.from_seed(b"\x01" * 32)


class Echo:
    """Takes connections and sends everything back."""

    def __init__(self):
        self.connections = []

    def __call__(self, connection):
        self.connections.append(connection)
        connection.on_message = connection.send


async def hear_back(connection, data):
    heard = bytearray()
    connection.on_message = heard.extend
    connection.send(data)
    await until(lambda: len(heard) >= len(data))
    assert heard == data


@pytest.mark.parametrize("options", [{}, {"lan": False}, {"lan": False, "fast_open": False}])
def test_client_reaches_server(options):
    async def scene(net):
        echo = Echo()
        server_node, client_node = await net.create_node(), await net.create_node()
        server = await server_node.listen(SERVER, echo)
        assert len(server.relay_addresses) == 3 and server.public_key == SERVER.public_key
        connection = await client_node.connect(SERVER.public_key, **options)
        assert connection.remote_public_key == SERVER.public_key and connection.is_initiator
        await hear_back(connection, os.urandom(200_000))
        [theirs] = echo.connections
        assert theirs.remote_public_key == client_node.key_pair.public_key
        connection.close()
        await until(lambda: theirs.closed and connection.closed)
        assert connection.error is None and theirs.error is None

    run(scene)


def test_relays_of_a_record_spare_the_search():
    async def scene(net):
        server_node, client_node = await net.create_node(), await net.create_node()
        server = await server_node.listen(SERVER, Echo())
        asked = []
        for node in net.nodes:
            handler = node.core.handlers[Command.FIND_PEER]
            node.core.handlers[Command.FIND_PEER] = lambda inbound, now, handler=handler: (
                asked.append(inbound.source.port) or handler(inbound, now)
            )
        connection = await client_node.connect(SERVER.public_key, server.relay_addresses)
        await hear_back(connection, b"x")
        assert client_node.local_port not in asked
        connection.close()
        # And they are remembered
        connection = await client_node.connect(SERVER.public_key)
        await hear_back(connection, b"x")
        assert client_node.local_port not in asked

    run(scene)


def test_dead_relays_do_not_hinder():
    async def scene(net):
        server_node, client_node = await net.create_node(), await net.create_node()
        await server_node.listen(SERVER, Echo())
        dead = [Address("127.0.0.1", 9), Address("127.0.0.1", 10)]
        request, given_up = client_node.client.request, []

        async def watch(outgoing):
            reply = await request(outgoing)
            if outgoing.to in dead:
                given_up.append(outgoing.to)
            return reply

        client_node.client.request = watch
        connection = await client_node.connect(SERVER.public_key, dead)
        assert not given_up, "it waited for none of them"
        await hear_back(connection, b"x")

    run(scene)


def test_unknown_and_impossible_keys():
    async def scene(net):
        node = await net.create_node()
        with pytest.raises(PeerNotFound):
            await node.connect(SERVER.public_key)
        with pytest.raises(PeerUnreachable, match="no peer can have"):
            await node.connect(b"\x07" * 32)

    run(scene)


def test_answer_of_a_lying_relay_does_not_spoil_the_right_one():
    async def scene(net):
        server_node, client_node = await net.create_node(), await net.create_node()
        server = await server_node.listen(SERVER, Echo())
        liar = server.relay_addresses[0]
        node = next(n for n in net.nodes if n.local_port == liar.port)
        node.core.handlers[Command.PEER_HANDSHAKE] = lambda inbound, now: inbound.reply(
            Handshake(mode=Mode.REPLY, noise=os.urandom(200), peer_address=Address("6.6.6.6", 6)).encode(),
            token=False,
        )
        connection = await client_node.connect(SERVER.public_key, server.relay_addresses)
        await hear_back(connection, b"x")

    run(scene)


@pytest.mark.usefixtures("quick_requests")
def test_node_that_has_the_servers_address_in_our_network_is_not_taken_for_it():
    """The server names the address of a bridge for containers, which every machine has: there is another
    node."""

    async def scene(net):
        node, other, relay = await net.create_node(), await net.create_node(), net.nodes[1]
        relay_at = Address(*relay.socket.local_address)

        def answer(inbound, now):
            handshake = ServerHandshake(SERVER, os.urandom)
            handshake.read(Handshake.decode(inbound.value).noise)
            noise, _ = handshake.write(
                NoisePayload(
                    firewall=Firewall.UNKNOWN,
                    holepunch=HolepunchInfo(0, (RelayInfo(relay_at, relay_at),)),
                    addresses4=(Address(*other.socket.local_address),),
                    udx=UdxInfo(9),
                    secret_stream=1,
                )
            )
            value = Handshake(mode=Mode.REPLY, noise=noise, peer_address=Address("127.0.0.1", 9)).encode()
            inbound.reply(value, token=False)

        relay.core.handlers[Command.PEER_HANDSHAKE] = answer
        with pytest.raises(PeerUnreachable):
            await node.connect(SERVER.public_key, [relay_at])

    run(scene)


def test_refused_client_is_left_in_silence():
    async def scene(net):
        echo = Echo()
        server_node, client_node = await net.create_node(), await net.create_node()
        seen = []

        def firewall(public_key, payload, address):
            seen.append((public_key, payload.udx.id, address))
            return True

        server = await server_node.listen(SERVER, echo, firewall=firewall)
        dial = asyncio.ensure_future(client_node.connect(SERVER.public_key, server.relay_addresses))
        await until(lambda: seen)
        await asyncio.sleep(0.3)
        assert not dial.done() and len(seen) == 1
        dial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dial
        assert echo.connections == [] and seen[0][0] == client_node.key_pair.public_key

    run(scene)


def test_dial_that_is_cancelled_leaves_nothing_behind():
    async def scene(net):
        node = await net.create_node()
        streams, tasks = dict(node.endpoint._streams), set(node._tasks)
        dial = asyncio.ensure_future(node.connect(SERVER.public_key))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(node.endpoint._streams) > len(streams)
        dial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dial
        await until(lambda: node.endpoint._streams == streams and not node._punch_listeners)
        await until(lambda: node._tasks == tasks)

    run(scene)


def test_closed_server_is_not_found():
    async def scene(net):
        server_node, client_node = await net.create_node(), await net.create_node()
        server = await server_node.listen(SERVER, Echo())
        assert len(await client_node.client.find_peer(SERVER.public_key)) == 3
        await server.close()
        assert await client_node.client.find_peer(SERVER.public_key) == []
        with pytest.raises(PeerNotFound):
            await client_node.connect(SERVER.public_key)
        again = await server_node.listen(SERVER, Echo())
        assert await client_node.client.find_peer(SERVER.public_key)
        await again.close()

    run(scene)


@pytest.mark.usefixtures("quick_requests")
def test_server_keeps_itself_announced(monkeypatch):
    monkeypatch.setattr(server_announcer, "PING_SECONDS", 0.05)
    monkeypatch.setattr(server_announcer, "PING_ROUNDS", 4)

    async def scene(net):
        log = []
        for node in net.nodes:
            store = node.core.handlers[Command.ANNOUNCE]
            node.core.handlers[Command.ANNOUNCE] = lambda inbound, now, store=store: (
                log.append(now) or store(inbound, now)
            )
        server_node, client_node = await net.create_node(), await net.create_node()
        server = await server_node.listen(SERVER, Echo())
        assert len(log) == 3
        await until(lambda: len(log) >= 9)
        before = len(log)
        await server.renewed()
        assert len(log) >= before + 3
        # A relay that dies is replaced, long before the announcement is due
        monkeypatch.setattr(server_announcer, "PING_ROUNDS", 10_000)
        await server.renewed()
        dead = server.relay_addresses[0]
        await next(node for node in net.nodes if node.local_port == dead.port).close()
        await until(lambda: dead not in server.relay_addresses and len(server.relay_addresses) == 3)
        connection = await client_node.connect(SERVER.public_key, server.relay_addresses)
        await hear_back(connection, b"x")

    run(scene, nodes=5)


def test_renewing_waits_for_an_announcement_that_began_afterwards(monkeypatch):
    monkeypatch.setattr(server_announcer, "PING_SECONDS", 60)

    async def scene(net):
        server_node = await net.create_node()
        server = await server_node.listen(SERVER, Echo())
        stored, renewals = [], []
        for node in net.nodes:
            store = node.core.handlers[Command.ANNOUNCE]

            def handle(inbound, now, store=store):
                stored.append(now)
                if not renewals:  # while the first announcement is on its way
                    renewals.append(asyncio.ensure_future(server.renewed()))
                return store(inbound, now)

            node.core.handlers[Command.ANNOUNCE] = handle
        server.renew()
        await until(lambda: renewals)
        await asyncio.wait_for(renewals[0], 20)
        assert len(stored) == 6

    run(scene)


def test_announcements_and_values():
    async def scene(net):
        a, b = await net.create_node(), await net.create_node()
        relays = (Address("1.2.3.4", 5), Address("1.2.3.4", 6))
        assert await a.client.announce(TOPIC, SERVER, relays) == 4
        [record] = await b.client.lookup(TOPIC)
        assert (record.public_key, record.relay_addresses) == (SERVER.public_key, relays)
        await a.client.unannounce(TOPIC, SERVER)
        assert await b.client.lookup(TOPIC) == []
        assert await a.client.mutable_put(SERVER, b"value", seq=2) == 4
        assert (await b.client.mutable_get(SERVER.public_key)).value == b"value"
        assert await b.client.mutable_get(SERVER.public_key, seq=3) is None
        assert await a.client.immutable_put(b"stone") == 4
        assert await b.client.immutable_get(blake2b_256(b"stone")) == b"stone"
        assert await b.client.immutable_get(bytes(32)) is None

    run(scene)


def test_node_learns_its_address_and_reports_it():
    async def scene(net):
        events = []
        node = DhtNode(bootstrap=net.bootstrap, host="127.0.0.1")
        node.subscribe(events.append)
        await node.start()
        assert await node.bootstrapped(timeout=5)
        assert (node.host, node.port) == ("127.0.0.1", node.local_port)
        assert node.online and node.firewalled
        assert NodeEvent.BOOTSTRAPPED in events and NodeEvent.ADDRESS_CHANGED in events
        around = node.profile()
        assert around.local == (Address("127.0.0.1", node.local_port),) and around.public is None
        await node.close()
        await node.close()
        with pytest.raises(ConnectionClosed):
            await node.connect(SERVER.public_key)

    run(scene)


@pytest.mark.usefixtures("quick_requests")
def test_names_of_bootstrap_nodes_are_looked_up():
    async def scene(net):
        port = net.nodes[0].local_port
        for spelled in (f"localhost:{port}", f"127.9.9.9@localhost:{port}"):
            node = DhtNode(bootstrap=[spelled], host="127.0.0.1")
            await node.start()
            assert await node.bootstrapped(timeout=15)
            await node.close()

    run(scene)


@pytest.mark.usefixtures("quick_requests")
def test_node_without_a_network_says_so_and_goes_on():
    async def play():
        node = DhtNode(bootstrap=["127.0.0.1:9"], host="127.0.0.1")
        await node.start()
        assert not await node.bootstrapped(timeout=0.05)
        with pytest.raises(PeerNotFound):
            await asyncio.wait_for(node.connect(SERVER.public_key), 20)
        await node.close()

    asyncio.run(play())


def test_port_that_is_taken_is_an_error():
    async def scene(net):
        with pytest.raises(OSError):
            await DhtNode(bootstrap=[], host="127.0.0.1", port=net.nodes[0].local_port).start()
        first = DhtNode(bootstrap=[], host="127.0.0.1", port=None)
        second = DhtNode(bootstrap=[], host="127.0.0.1", port=None)
        await first.start()
        await second.start()
        assert first.local_port != second.local_port
        await first.close()
        await second.close()

    run(scene, nodes=1)


def test_persistent_node_must_know_where_it_is():
    with pytest.raises(LocalProtocolError):
        DhtNode(bootstrap=[], ephemeral=False)


def test_bytes_that_mean_nothing_are_dropped():
    async def scene(net):
        node, other = await net.create_node(), await net.create_node()
        there = node.socket.local_address
        for data in (b"", b"\0", b"\x03", b"\x13\0", b"\xff\x01" + bytes(30), os.urandom(500), bytes(1400)):
            other.socket.send(data, there)
        await asyncio.sleep(0.1)
        assert await other.client.ping(Address(*there)) is not None

    run(scene)


def test_remembered_relays_are_bounded():
    node = DhtNode(bootstrap=[])
    for number in range(MAX_REMEMBERED_RELAYS + 100):
        node._remember_relays(number.to_bytes(32, "big"), (Address("1.2.3.4", 5),))
    assert len(node._relays) == MAX_REMEMBERED_RELAYS
    assert (MAX_REMEMBERED_RELAYS + 99).to_bytes(32, "big") in node._relays


def test_server_out_of_streams_keeps_silent():
    async def scene(net):
        server_node, client_node = await net.create_node(), await net.create_node()
        server = await server_node.listen(SERVER, Echo())

        def full():
            raise OSError("too many streams")

        server_node.endpoint.allocate_id = full
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client_node.connect(SERVER.public_key, server.relay_addresses), 0.5)

    run(scene)


def test_local_addresses_are_those_of_the_bound_host():
    assert local_addresses("127.0.0.1", 5) == (Address("127.0.0.1", 5),)
    everywhere = local_addresses("0.0.0.0", 5)
    assert everywhere and all(address.port == 5 for address in everywhere)
    assert len(everywhere) == 1 or not any(address.host.startswith("127.") for address in everywhere)


def test_alarm_fires_at_the_time_set_last_or_before():
    async def play():
        fired = []
        alarm = DeadlineTimer(asyncio.get_running_loop(), fired.append)
        start = monotonic()
        alarm.set(None)
        alarm.set(start + 60)
        alarm.set(start + 0.02)
        alarm.set(start + 30)  # the earlier one stands
        await until(lambda: fired)
        assert fired[0] - start < 5
        alarm.set(monotonic() - 1)
        await until(lambda: len(fired) == 2)
        alarm.set(monotonic() + 0.01)
        alarm.cancel()
        await asyncio.sleep(0.05)
        assert len(fired) == 2

    asyncio.run(play())


def test_race_stops_the_losers_and_shows_bugs():
    async def play():
        loop = asyncio.get_running_loop()
        log = []

        async def way(name, seconds, goal=None):
            try:
                await asyncio.sleep(seconds)
                log.append(name)
                if goal is not None:
                    goal.set_result(name)
            except asyncio.CancelledError:
                log.append(f"{name} stopped")
                raise

        goal = loop.create_future()
        await race(goal, way("fast", 0.01, goal), way("slow", 10))
        assert log == ["fast", "slow stopped"] and goal.result() == "fast"
        hopeless = loop.create_future()
        await race(hopeless, way("a", 0), way("b", 0.01))
        assert not hopeless.done() and log[-2:] == ["a", "b"]

        async def broken():
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await race(loop.create_future(), broken(), way("c", 10))
        assert log[-1] == "c stopped"
        hopeless.cancel()

    asyncio.run(play())
