"""Handshakes and hole-punch messages passed on by nodes, over the simulated network."""

import pytest

from hypercore.crypto import KeyPair, blake2b_256
from hypercore.dht import queries
from hypercore.dht.address import Address
from hypercore.dht.constants import Command, Mode
from hypercore.dht.messages import Handshake, Holepunch
from hypercore.dht.packet import decode_packet
from support.dht_network import Network

SERVER = KeyPair.from_seed(b"\x01" * 32)
TARGET = blake2b_256(SERVER.public_key)


class Recorder:
    """A local server that answers everything and remembers what it was asked."""

    def __init__(self):
        self.handshakes = []
        self.holepunches = []
        self.silent = False

    def handshake(self, noise, client, inbound, now, *, direct):
        self.handshakes.append((noise, client, inbound.source, direct))
        return None if self.silent else b"re:" + noise

    def holepunch(self, slot, payload, client, inbound, now):
        self.holepunches.append((slot, payload, client, inbound.source))
        return None if self.silent else b"re:" + payload


class World:
    def __init__(self):
        self.network = Network(seed=7)
        self.nodes = self.network.nodes_of(30)
        self.server = self.network.node(persistent=False, bootstrap=[self.nodes[0].here])
        self.client = self.network.node(persistent=False, bootstrap=[self.nodes[0].here])
        self.network.run(10)
        self.recorder = Recorder()
        self.server.router.servers[TARGET] = self.recorder
        query = self.network.finish(
            self.server,
            lambda done: queries.announce(self.server, TARGET, SERVER, lambda: (), on_done=done),
        )
        self.relays = [reply.source for reply in query.closest]
        self.others = [node.here for node in self.nodes if node.here not in self.relays]

    def shake(self, to, **fields):
        value = Handshake(**{"mode": Mode.FROM_CLIENT, "noise": b"hello"} | fields).encode()
        return self.ask(to, Command.PEER_HANDSHAKE, target=TARGET, value=value)

    def ask(self, to, command, **fields):
        return self.network.ask(self.client, to, command, retries=0, **fields)


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(autouse=True)
def discard(world):
    world.recorder.__init__()


def test_handshake_is_relayed_to_the_server_and_back(world):
    relay = world.relays[0]
    reply = world.shake(relay)
    assert reply.source == relay and reply.to == world.client.here
    answer = Handshake.decode(reply.value)
    assert answer == Handshake(mode=Mode.REPLY, noise=b"re:hello", peer_address=world.server.here)
    assert world.recorder.handshakes == [(b"hello", world.client.here, relay, False)]


def test_server_itself_answers_directly(world):
    reply = world.shake(world.server.here)
    assert Handshake.decode(reply.value) == Handshake(mode=Mode.REPLY, noise=b"re:hello")
    assert world.recorder.handshakes == [(b"hello", world.client.here, world.client.here, True)]


def test_handshake_goes_through_two_relays_if_the_client_names_one(world):
    first, second = world.others[0], world.relays[0]
    reply = world.shake(first, relay_address=second)
    assert reply.source == first
    assert Handshake.decode(reply.value).peer_address == world.server.here
    assert world.recorder.handshakes == [(b"hello", world.client.here, second, False)]


def test_node_without_a_way_shows_nearer_nodes(world):
    reply = world.shake(world.others[0])
    assert reply.value is None and reply.closer_nodes and reply.token is None and reply.error == 0


def test_silence_of_the_server_is_silence(world):
    world.recorder.silent = True
    assert world.shake(world.relays[0]) is None
    assert len(world.recorder.handshakes) == 1


def test_relayed_packets_keep_the_tid(world):
    seen = []
    world.network.drop = lambda data, source, to: seen.append(decode_packet(data)) and False
    world.shake(world.relays[1])
    world.network.drop = None
    handshakes = [p for p in seen if p.value and b"hello" in p.value]
    assert len(handshakes) == 4 and len({p.tid for p in handshakes}) == 1
    assert [Handshake.decode(p.value).mode for p in handshakes] == [
        Mode.FROM_CLIENT,
        Mode.FROM_RELAY,
        Mode.FROM_SERVER,
        Mode.REPLY,
    ]


def _punch(world, to, **fields):
    value = Holepunch(**{"mode": Mode.FROM_CLIENT, "id": 5, "payload": b"box"} | fields).encode()
    return world.network.ask(world.client, to, Command.PEER_HOLEPUNCH, target=TARGET, value=value, retries=0)


def test_holepunch_is_relayed_to_the_server_and_back(world):
    for relay, fields in (
        (world.relays[0], {}),
        (world.others[0], {"peer_address": world.server.here}),
    ):
        world.recorder.__init__()
        reply = _punch(world, relay, **fields)
        assert Holepunch.decode(reply.value) == Holepunch(
            mode=Mode.REPLY, id=0, payload=b"re:box", peer_address=world.server.here
        )
        assert world.recorder.holepunches == [(5, b"box", world.client.here, relay)]


def test_holepunch_without_a_way_is_dropped(world):
    assert _punch(world, world.others[0]) is None
    assert _punch(world, world.others[0], peer_address=Address("1.2.3.4", 0)) is None


@pytest.mark.parametrize("mode", [Mode.FROM_SERVER, Mode.FROM_RELAY, Mode.REPLY, 77])
@pytest.mark.parametrize("command", [Command.PEER_HANDSHAKE, Command.PEER_HOLEPUNCH])
def test_message_that_makes_no_sense_here_is_dropped(world, mode, command):
    if command == Command.PEER_HANDSHAKE:
        value = Handshake(mode=mode, noise=b"hello").encode()
    else:
        value = Holepunch(mode=mode, id=0, payload=b"box").encode()
    for to in (world.others[0], world.server.here if mode not in (Mode.FROM_RELAY,) else world.others[1]):
        assert world.ask(to, command, target=TARGET, value=value) is None
    assert world.recorder.handshakes == world.recorder.holepunches == []


@pytest.mark.parametrize("command", [Command.PEER_HANDSHAKE, Command.PEER_HOLEPUNCH])
@pytest.mark.parametrize("value", [None, b"", b"\xff\xff"])
def test_garbage_is_dropped(world, command, value):
    assert world.ask(world.relays[0], command, target=TARGET, value=value) is None
    assert world.ask(world.relays[0], command, value=value) is None
