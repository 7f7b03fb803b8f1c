"""How many signatures a storing node checks, whatever peer sends them."""

import random

import pytest

from hypercore.crypto import KeyPair, blake2b_256
from hypercore.dht.address import Address
from hypercore.dht.constants import Command
from hypercore.dht.handshake_router import Router
from hypercore.dht.node import DhtCore
from hypercore.dht.packet import Request, decode_packet
from hypercore.dht.record_store import Store
from hypercore.dht.signature_budget import (
    MAX_BURST,
    MAX_NETWORK_BURST,
    MAX_NEWCOMER_BURST,
    NETWORK_PER_SECOND,
    NEWCOMER_SIGNATURES,
    NEWCOMERS_PER_SECOND,
    PER_SECOND,
    SignatureBudget,
)
from hypercore.dht.signing import sign_announce, sign_mutable, sign_unannounce

HERE = Address("77.0.0.1", 49737)
US = KeyPair.from_seed(bytes(32))


def ask(budget, host, now=0.0):
    return budget.take(Address(host, 1), now)


def test_a_network_has_its_share_however_many_hosts_it_has():
    budget = SignatureBudget()
    assert sum(ask(budget, f"6.6.6.{n % 256}") for n in range(9000)) == MAX_NETWORK_BURST
    assert budget.refused == 9000 - MAX_NETWORK_BURST
    assert sum(ask(budget, "6.6.6.7", 1.0) for _ in range(9000)) == NETWORK_PER_SECOND


def test_all_together_have_a_part_of_a_processor_and_newcomers_a_part_of_that():
    budget = SignatureBudget()
    flood = sum(ask(budget, f"6.6.{network}.1") for network in range(100) for _ in range(2000))
    assert MAX_BURST <= flood <= MAX_BURST + 100 * NEWCOMER_SIGNATURES
    left = MAX_NEWCOMER_BURST - (flood - MAX_BURST)
    newcomers = sum(ask(budget, f"8.{high}.{low}.1") for high in range(20) for low in range(200))
    assert newcomers == max(0, left)
    later = sum(ask(budget, f"9.{high}.{low}.1", 1.0) for high in range(40) for low in range(200))
    assert later == PER_SECOND + NEWCOMERS_PER_SECOND


class Node:
    """A storing node that a peer asks, with valid tokens."""

    def __init__(self) -> None:
        rng = random.Random(1)
        self.core = DhtCore(rng=rng, now=0.0, address=HERE)
        self.store = Store(
            own_id=self.core.own_id, router=Router(0.0), rng=rng, now=0.0, wall_clock=lambda: 0.0
        )
        self.core.handlers |= self.store.handlers()

    def ask(self, source, command, target, value=None, token=None):
        request = Request(tid=1, to=HERE, command=command, target=target, value=value, token=token)
        self.core.receive((request.encode(), source), 0.0)
        return [decode_packet(data) for data, to in self.core.take_output(0.0) if to == source]

    def token(self, source):
        return self.ask(source, Command.LOOKUP, bytes(32))[0].token


@pytest.mark.parametrize("command", [Command.ANNOUNCE, Command.UNANNOUNCE, Command.MUTABLE_PUT])
def test_requests_beyond_the_share_of_a_network_are_not_checked_and_others_are(command):
    node, topic = Node(), blake2b_256(b"topic")

    def signed(source):
        token = node.token(source)
        if command is Command.MUTABLE_PUT:
            return node.ask(
                source, command, blake2b_256(US.public_key), sign_mutable(US, 1, b"value").encode(), token
            )
        sign = sign_announce if command is Command.ANNOUNCE else sign_unannounce
        value = sign(US, target=topic, node_id=node.core.own_id, token=token)
        return node.ask(source, command, topic, value, token)

    flood, other = Address("6.6.6.1", 1), Address("7.7.7.1", 1)
    token = node.token(flood)
    wrong = sign_announce(US, target=topic, node_id=bytes(32), token=token)
    for _ in range(MAX_NETWORK_BURST):
        assert not node.ask(flood, Command.ANNOUNCE, topic, wrong, token)
    assert node.store.signatures.refused == 0
    assert not signed(flood) and node.store.signatures.refused == 1
    assert signed(other)
