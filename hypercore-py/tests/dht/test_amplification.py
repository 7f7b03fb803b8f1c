"""What a peer can make a node send to another peer by forging the sender of a datagram."""

from __future__ import annotations

import random

import pytest

from hypercore.crypto import KeyPair, blake2b_256
from hypercore.dht.address import Address, node_id
from hypercore.dht.constants import Command
from hypercore.dht.handshake_router import Router
from hypercore.dht.node import DhtCore
from hypercore.dht.packet import Request, decode_packet
from hypercore.dht.record_store import MAX_VALUE_BYTES, MAX_VALUE_BYTES_PER_NETWORK, Store
from hypercore.dht.reply_budget import (
    MAX_ALL_UNPROVEN_BURST_BYTES,
    MAX_PROVEN_BURST_BYTES,
    MAX_REPLY_FACTOR,
    MAX_UNPROVEN_BURST_BYTES,
    UNPROVEN_BYTES_PER_SECOND,
)
from hypercore.dht.signing import sign_announce

HERE = Address("77.0.0.1", 49737)
VICTIM = Address("80.0.0.1", 53)

MAX_REPLY_BYTES = 1_500
"""One datagram that no path has to cut in pieces."""

COMMANDS = [(int(command), False) for command in Command] + [(number, True) for number in range(8)]

STORED = b"x" * 1_000
TARGET = blake2b_256(STORED)
"""Of a record, and of a topic with many peers."""


class Node:
    """A persistent node that knows many others, and has a topic full of peers and a large record."""

    def __init__(self, seed: int = 1) -> None:
        rng = random.Random(seed)
        self.core = DhtCore(rng=rng, now=0.0, address=HERE)
        router = Router(0.0)
        self.store = Store(own_id=self.core.own_id, router=router, rng=rng, now=0.0, wall_clock=lambda: 0.0)
        self.core.handlers |= router.handlers() | self.store.handlers()
        for number in range(200):
            other = Address(f"78.0.{number}.1", 2000 + number)
            hello = Request(tid=number, to=HERE, command=0, internal=True, id=node_id(other))
            self.core.receive((hello.encode(), other), number * 0.01)
        for number in range(40):
            self.announce(number)
        self.put(Address("79.0.0.1", 9))
        self.core.take_output(0.0)

    def ask(self, request: Request, source: Address = VICTIM, now: float = 10.0) -> list[bytes]:
        """What goes to `source` for it."""
        self.core.take_output(now)
        self.core.receive((request.encode(), source), now)
        return [data for data, to in self.core.take_output(now) if to == source]

    def token(self, source: Address, now: float = 10.0) -> bytes:
        [reply] = self.ask(Request(tid=1, to=HERE, command=Command.LOOKUP, target=bytes(32)), source, now)
        token = decode_packet(reply).token
        assert token is not None
        return token

    def put(self, source: Address, now: float = 10.0) -> None:
        token = self.token(source, now)
        put = Request(tid=2, to=HERE, command=Command.IMMUTABLE_PUT, target=TARGET, token=token, value=STORED)
        assert self.ask(put, source, now)

    def announce(self, number: int) -> None:
        source, pair = Address(f"81.0.{number}.1", 7), KeyPair.from_seed(bytes([number]) * 32)
        token = self.token(source)
        assert self.core.own_id is not None
        value = sign_announce(
            pair,
            target=TARGET,
            node_id=self.core.own_id,
            token=token,
            relay_addresses=(Address("66.0.0.1", 1),) * 3,
        )
        assert self.ask(
            Request(tid=2, to=HERE, command=Command.ANNOUNCE, target=TARGET, token=token, value=value), source
        )


@pytest.mark.parametrize(("command", "internal"), COMMANDS)
def test_a_forged_request_makes_one_small_reply_at_most(command: int, internal: bool) -> None:
    node = Node()
    target = blake2b_256(KeyPair.from_seed(bytes(32)).public_key)
    request = Request(tid=7, to=HERE, command=command, internal=internal, target=target)
    replies = node.ask(request)
    assert len(replies) <= 1
    assert sum(map(len, replies)) <= min(MAX_REPLY_BYTES, 8 * len(request.encode()))


LARGE = [int(Command.LOOKUP), int(Command.IMMUTABLE_GET)]


@pytest.mark.parametrize("command", LARGE)
def test_a_reader_that_asks_once_gets_the_whole_answer(command: int) -> None:
    """As official clients do: without a token, at every node that is near."""
    request = Request(tid=7, to=HERE, command=command, target=TARGET)
    [reply] = Node().ask(request)
    packet = decode_packet(reply)
    assert packet.value is not None and len(packet.value) > 900
    assert len(reply) > 10 * len(request.encode()), "that is what has to be bounded"


@pytest.mark.slow
@pytest.mark.parametrize("command", LARGE)
def test_forged_requests_make_little_of_a_full_store(command: int) -> None:
    """A second of them in the name of one network, then a minute."""
    node, asked, sent = Node(), 0, 0
    for number in range(10_000):
        request = Request(tid=7, to=HERE, command=command, target=TARGET)
        asked += len(request.encode())
        sent += sum(map(len, node.ask(request, VICTIM._replace(host=f"80.0.0.{number % 250}"), 10.0)))
    assert sent <= MAX_REPLY_FACTOR * asked + MAX_UNPROVEN_BURST_BYTES
    for number in range(60 * 100):
        request = Request(tid=7, to=HERE, command=command, target=TARGET)
        asked += len(request.encode())
        sent += sum(map(len, node.ask(request, VICTIM, 10.0 + number * 0.01)))
    largest = MAX_UNPROVEN_BURST_BYTES + 60 * UNPROVEN_BYTES_PER_SECOND
    assert sent <= MAX_REPLY_FACTOR * asked + largest


@pytest.mark.slow
def test_answers_to_many_networks_are_bounded_together() -> None:
    node, asked, sent = Node(), 0, 0
    for number in range(20_000):
        request = Request(tid=7, to=HERE, command=Command.IMMUTABLE_GET, target=TARGET)
        asked += len(request.encode())
        victim = Address(f"90.{number >> 8}.{number & 255}.1", 53)
        sent += sum(map(len, node.ask(request, victim)))
    assert sent <= MAX_REPLY_FACTOR * asked + MAX_ALL_UNPROVEN_BURST_BYTES


def test_a_network_that_was_sent_enough_gets_a_token_and_others_get_everything() -> None:
    node = Node()
    get = Request(tid=7, to=HERE, command=Command.IMMUTABLE_GET, target=TARGET)
    for _ in range(1_000):
        [reply] = node.ask(get)
    short = decode_packet(reply)
    assert short.value is None and short.token is not None
    assert len(reply) <= MAX_REPLY_FACTOR * len(get.encode())
    [whole] = node.ask(get, Address("95.0.0.1", 5))
    assert decode_packet(whole).value == STORED
    # With the token it shows that it reads there, and has an account of its own
    [reply] = node.ask(Request(tid=8, to=HERE, command=get.command, target=TARGET, token=short.token))
    assert decode_packet(reply).value == STORED
    assert all(decode_packet(node.ask(get)[0]).value == STORED for _ in range(200))
    [reply] = node.ask(get, VICTIM._replace(host="80.0.0.9"))
    assert decode_packet(reply).value is None, "its neighbour has not"
    # And in time everybody gets answers again
    [reply] = node.ask(get, VICTIM._replace(host="80.0.0.9"), 20.0)
    assert decode_packet(reply).value == STORED


def test_even_a_host_that_has_used_a_token_is_sent_only_so_much() -> None:
    node, sent = Node(), 0
    node.put(VICTIM)
    get = Request(tid=7, to=HERE, command=Command.IMMUTABLE_GET, target=TARGET)
    for _ in range(10_000):
        sent += sum(map(len, node.ask(get)))
    assert sent <= MAX_REPLY_FACTOR * 10_000 * len(get.encode()) + MAX_PROVEN_BURST_BYTES


@pytest.mark.slow
def test_records_of_peers_are_bounded_by_bytes() -> None:
    """As many as make 50 MB, from many networks and from one."""
    for hosts in (250, 1):
        node = Node()
        for number in range(50_000):
            value = number.to_bytes(1_000, "big")
            source = Address(f"85.0.{number % hosts}.1", 5)
            put = Request(
                tid=2,
                to=HERE,
                command=Command.IMMUTABLE_PUT,
                target=blake2b_256(value),
                token=node.core.issue_token(source.host),
                value=value,
            )
            node.core.receive((put.encode(), source), 10.0)
        assert node.store.value_bytes <= MAX_VALUE_BYTES
        if hosts == 1:
            assert node.store.value_bytes <= MAX_VALUE_BYTES_PER_NETWORK + 2_000
            [reply] = node.ask(
                Request(tid=7, to=HERE, command=Command.IMMUTABLE_GET, target=TARGET), Address("95.0.0.1", 5)
            )
            assert decode_packet(reply).value == STORED, "the innocent record is still there"
