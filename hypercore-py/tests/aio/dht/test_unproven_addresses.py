"""Addresses that nothing but a peer's word speaks for: what is sent there, and what is taken from there."""

import asyncio
import os
import socket
from time import monotonic

import pytest

from hypercore.aio.dht.arrival import GREETING_REPEATS, MAX_GREETING_BYTES
from hypercore.aio.dht.connect import MAX_FIRST_FLIGHT_BYTES, MAX_REPEATED_FLIGHT_BYTES
from hypercore.aio.net.secret_connection import SecretConnection
from hypercore.aio.net.udp_socket import Endpoint
from hypercore.aio.net.udx_transport import MAX_AMPLIFICATION, StreamTransport
from hypercore.crypto import KeyPair
from hypercore.dht.address import Address
from hypercore.dht.constants import Command, Firewall, Mode
from hypercore.dht.messages import Handshake, NoisePayload, UdxInfo
from hypercore.dht.noise import ClientHandshake, ServerHandshake
from hypercore.secretstream import SecretStream
from hypercore.testing.testnet import Testnet
from hypercore.udx import rtt
from hypercore.udx.packet import FLAG_DATA, Packet
from support.aio_streams import listen

SERVER = KeyPair.from_seed(b"\x01" * 32)
CLIENT = KeyPair.from_seed(b"\x02" * 32)


@pytest.fixture
def short_timeouts(monkeypatch):
    """Streams send again after a tenth of a second (really: a second), then after twice that, and so on."""
    for name in ("INITIAL_RTO", "MIN_RTO"):
        monkeypatch.setattr(rtt, name, 0.1)


def run(scene, nodes=3):
    async def play():
        async with Testnet(nodes) as net:
            await scene(net)

    asyncio.run(play())


async def until(condition, seconds=10.0):
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


class Place:
    """A socket that counts what comes to it."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.address = Address(*self.socket.getsockname())
        self.sent = 0
        self.heard = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data, to):
        self.socket.sendto(data, to)
        self.sent += len(data)

    def poll(self):
        """Bytes that have come in all."""
        while True:
            try:
                self.heard.append(self.socket.recv(65536))
            except BlockingIOError:
                return sum(map(len, self.heard))


class Served:
    """A server of ours, and a client that a relay has handed to it."""

    def __init__(self, net, node, client_at, firewall):
        self.at = Address(*node.socket.local_address)
        self.handshake = ClientHandshake(CLIENT, SERVER.public_key, os.urandom)
        self.noise = self.handshake.write(NoisePayload(firewall=firewall, udx=UdxInfo(5), secret_stream=1))
        self.net, self.node, self.client_at = net, node, client_at

    async def shake(self, server):
        """The handshake as its relay passes it on; the answer goes to that relay."""

        class Relayed:
            source = Address(*self.net.nodes[1].socket.local_address)

        answer = server.handshake(self.noise, self.client_at, Relayed, monotonic(), direct=False)
        self.payload, result = self.handshake.read(answer)
        self.stream = SecretStream(result, os.urandom)
        return result

    def packet(self, seq, payload, ack=0):
        return Packet(FLAG_DATA, self.payload.udx.id, 4 << 20, seq, ack, payload).encode()


async def served(net, client_at, firewall=Firewall.OPEN, on_connection=None):
    node = await net.create_node()
    taken = []

    def take(connection):
        taken.append(connection)
        if on_connection is not None:
            on_connection(connection)

    server = await node.listen(SERVER, take)
    client = Served(net, node, client_at, firewall)
    await client.shake(server)
    return client, taken


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize("firewall", [Firewall.OPEN, Firewall.UNKNOWN])
def test_address_that_only_a_relay_has_named_gets_one_small_packet_and_that_again_twice(firewall):
    async def scene(net):
        with Place() as third:
            client, taken = await served(net, third.address, firewall)
            await asyncio.sleep(2)  # a third time would be after 1.5 s
            greetings = 1 + GREETING_REPEATS if firewall == Firewall.OPEN else 0
            assert third.poll() == greetings * MAX_GREETING_BYTES < 3 * len(client.noise)
            assert len(third.heard) == greetings and len(set(third.heard)) <= 1 and taken == []

    run(scene)


@pytest.mark.usefixtures("short_timeouts")
def test_client_that_waits_and_misses_the_first_greeting_arrives():
    """Nothing that it does shows us that the packet was lost: it does not know our stream."""

    async def scene(net):
        with Place() as waiting:
            client, taken = await served(net, waiting.address)
            await until(waiting.poll)
            lost, waiting.heard = set(waiting.heard), []
            await until(waiting.poll)
            assert set(waiting.heard) == lost
            waiting.send(client.packet(0, client.stream.start(), ack=1), client.at)
            await until(lambda: taken)
            waiting.poll()
            waiting.heard = []
            await asyncio.sleep(1)
            waiting.poll()
            assert not lost & set(waiting.heard), "it has come: there is nothing to repeat"

    run(scene)


def test_client_that_arrives_from_elsewhere_is_answered_there():
    async def scene(net):
        with Place() as third, Place() as real:
            client, taken = await served(net, third.address, on_connection=lambda c: c.send(bytes(100)))
            real.send(client.packet(0, client.stream.start()), client.at)
            await until(lambda: taken)
            assert taken[0].remote_address == real.address
            await until(lambda: real.poll())
            assert third.poll() <= (1 + GREETING_REPEATS) * MAX_GREETING_BYTES

    run(scene)


def test_client_without_the_keys_does_not_arrive():
    async def scene(net):
        with Place() as real:
            client, taken = await served(net, real.address)
            real.send(client.packet(0, b"\x38\0\0" + bytes(56)), client.at)
            await asyncio.sleep(0.3)
            assert taken == []

    run(scene)


@pytest.mark.usefixtures("short_timeouts")
def test_no_more_than_three_times_what_came_goes_to_an_address_that_acknowledges_nothing():
    """The client's header comes with the address of a third party on it."""

    async def scene(net):
        with Place() as third:
            client, taken = await served(
                net, third.address, Firewall.UNKNOWN, on_connection=lambda c: c.send(bytes(1 << 20))
            )
            third.send(client.packet(0, client.stream.start()), client.at)
            await until(lambda: taken)
            await asyncio.sleep(0.4)
            assert 0 < third.poll() <= MAX_AMPLIFICATION * third.sent
            third.send(client.packet(1, client.stream.encrypt(b"more")), client.at)
            await asyncio.sleep(0.1)
            assert third.poll() <= MAX_AMPLIFICATION * third.sent
            # An acknowledgement lifts it
            third.send(client.packet(2, client.stream.encrypt(b"read"), ack=1), client.at)
            await until(lambda: third.poll() > 4 * third.sent)

    run(scene)


@pytest.mark.usefixtures("short_timeouts")
def test_acknowledgements_from_elsewhere_do_not_count():
    async def scene(net):
        with Place() as third, Place() as attacker:
            client, taken = await served(
                net, third.address, Firewall.UNKNOWN, on_connection=lambda c: c.send(bytes(1 << 20))
            )
            third.send(client.packet(0, client.stream.start()), client.at)
            await until(lambda: taken)
            for ack in range(1, 1000):
                attacker.send(Packet(0, client.payload.udx.id, 4 << 20, 1, ack, b"").encode(), client.at)
            attacker.send(client.packet(1, client.stream.encrypt(b"more"), ack=1), client.at)
            await asyncio.sleep(0.5)
            assert third.poll() <= MAX_AMPLIFICATION * third.sent
            assert attacker.poll() == 0 and taken[0].messages_in == 0

    run(scene)


def test_stray_packets_do_not_end_a_connection():
    async def scene(net):
        with Place() as real, Place() as attacker:
            client, taken = await served(net, real.address, Firewall.UNKNOWN)
            real.send(client.packet(0, client.stream.start()), client.at)
            await until(lambda: taken)
            for flags in range(64):
                stray = Packet(flags, client.payload.udx.id, 0, 1, 0, bytes(30)).encode()
                attacker.send(stray, client.at)
            heard = []
            taken[0].on_message = heard.append
            real.send(client.packet(1, client.stream.encrypt(b"still me")), client.at)
            await until(lambda: heard)
            assert heard == [b"still me"] and not taken[0].closed

    run(scene)


@pytest.mark.usefixtures("short_timeouts")
def test_server_of_which_there_is_only_a_relays_word_gets_little_until_it_answers():
    """A node answers a dial in the name of its own key, and names a third party as that server's address."""

    async def scene(net):
        with Place() as third:
            node, liar = await net.create_node(), net.nodes[1]

            def answer(inbound, now):
                handshake = ServerHandshake(SERVER, os.urandom)
                handshake.read(Handshake.decode(inbound.value).noise)
                payload = NoisePayload(firewall=Firewall.OPEN, addresses4=(), udx=UdxInfo(9), secret_stream=1)
                noise, _ = handshake.write(payload)
                value = Handshake(mode=Mode.REPLY, noise=noise, peer_address=third.address).encode()
                inbound.reply(value, token=False)

            liar.core.handlers[Command.PEER_HANDSHAKE] = answer
            connection = await node.connect(SERVER.public_key, [Address(*liar.socket.local_address)])
            connection.send(bytes(1 << 20))
            await until(third.poll)
            assert third.poll() <= MAX_FIRST_FLIGHT_BYTES
            await asyncio.sleep(0.4)
            assert third.poll() <= MAX_FIRST_FLIGHT_BYTES + 4 * MAX_REPEATED_FLIGHT_BYTES
            assert not connection.closed
            connection.destroy()

    run(scene)


def test_peer_that_answers_from_another_address_is_followed_there():
    """A host with two addresses of one network answers from the one that its system prefers."""

    async def scene():
        here, there = Endpoint(), Endpoint()
        answering = there.bind("0.0.0.0")
        asked = ("127.0.0.2", answering.local_address[1])
        own = here.bind("127.0.0.1")
        left, right = StreamTransport(here), StreamTransport(there)
        got, back = bytearray(), bytearray()
        listen(left, on_data=lambda chunks: back.extend(b"".join(chunks)))
        listen(right, on_data=lambda chunks: got.extend(b"".join(chunks)))
        right.connect(left.local_id, own.local_address, answering)
        left.connect(right.local_id, asked, own, budget=4800)
        left.write(bytes(100))
        right.write(bytes(300_000))
        await until(lambda: len(got) == 100 and len(back) == 300_000)
        assert left.remote_address == ("127.0.0.1", asked[1])
        left.write(bytes(300_000))
        await until(lambda: len(got) == 300_100)
        here.close()
        there.close()

    asyncio.run(scene())


def test_connection_can_be_used_at_once_and_only_its_own_client_is_heard():
    """Everything of a hand-over in one packet: header and message."""

    async def scene(net):
        with Place() as real:
            heard = []
            client, taken = await served(
                net, real.address, on_connection=lambda c: setattr(c, "on_message", heard.append)
            )
            both = client.stream.start() + client.stream.encrypt(b"at once")
            real.send(client.packet(0, both), client.at)
            await until(lambda: heard)
            assert heard == [b"at once"] and isinstance(taken[0], SecretConnection)
            assert taken[0].authenticated

    run(scene)
