"""How much work a node does for requests that cost much, whatever peer sends them."""

import random

import pytest

from hypercore.crypto import KeyPair, blake2b_256
from hypercore.dht.address import Address
from hypercore.dht.constants import Command
from hypercore.dht.handshake_router import Router
from hypercore.dht.node import DhtCore
from hypercore.dht.packet import Request, decode_packet
from hypercore.dht.record_store import Store
from hypercore.dht.signing import sign_announce, sign_mutable, sign_unannounce
from hypercore.dht.work_budget import HANDSHAKES, MAX_NETWORK_SIGNATURES, SIGNATURES, WorkBudget

HERE = Address("77.0.0.1", 49737)
US = KeyPair.from_seed(bytes(32))
both = pytest.mark.parametrize("rates", [HANDSHAKES, SIGNATURES], ids=["handshakes", "signatures"])


@both
def test_a_network_has_its_share_however_many_hosts_it_has(rates):
    budget, share = WorkBudget(rates), rates.network
    flood = 4 * share.burst
    assert sum(budget.take(f"6.6.6.{n % 256}", 0.0) for n in range(flood)) == share.burst
    assert budget.refused == flood - share.burst
    assert sum(budget.take("6.6.6.7", 1.0) for _ in range(flood)) == share.per_second
    assert budget.take("7.7.7.7", 1.0), "others notice nothing"


@both
def test_networks_that_send_many_leave_a_share_for_others(rates):
    budget, done = WorkBudget(rates), 0
    for second in range(4):
        for flood in range(20):
            done += sum(budget.take(f"6.6.{flood}.1", float(second)) for _ in range(rates.network.per_second))
        for newcomer in range(min(250, rates.newcomers.per_second) // 2):
            assert budget.take(f"8.{second}.{newcomer}.1", float(second)), "a client that comes first"
    assert done <= rates.together.burst + 3 * rates.together.per_second + 20 * rates.newcomer


@both
def test_all_together_cannot_take_more_than_a_part_of_a_processor(rates):
    budget = WorkBudget(rates)
    hosts = [f"{high}.{low}.1.1" for high in range(1, 30) for low in range(250)]
    assert sum(budget.take(host, 0.0) for host in hosts) == rates.together.burst + rates.newcomers.burst
    again = sum(budget.take(host, 1.0) for host in hosts)
    assert again == rates.together.per_second + rates.newcomers.per_second


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
    for _ in range(MAX_NETWORK_SIGNATURES):
        assert not node.ask(flood, Command.ANNOUNCE, topic, wrong, token)
    assert node.store.signatures.refused == 0
    assert not signed(flood) and node.store.signatures.refused == 1
    assert signed(other)
