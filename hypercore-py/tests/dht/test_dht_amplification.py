"""What a stranger can make a node send to somebody else by forging the sender of a datagram."""

from __future__ import annotations

import random

import pytest

from hypercore.crypto import KeyPair, blake2b_256
from hypercore.dht.address import Address, node_id
from hypercore.dht.constants import Command
from hypercore.dht.node import DhtCore
from hypercore.dht.packet import Request
from hypercore.dht.router import Router
from hypercore.dht.store import Store

HERE = Address("77.0.0.1", 49737)
VICTIM = Address("80.0.0.1", 53)

MAX_REPLY_BYTES = 1_500
"""One datagram that no path has to cut in pieces."""

COMMANDS = [(int(command), False) for command in Command] + [(number, True) for number in range(8)]


def full_node(rng: random.Random) -> DhtCore:
    """A persistent node that knows many others, and many records of one topic."""
    core = DhtCore(rng=rng, now=0.0, address=HERE)
    router = Router(0.0)
    store = Store(own_id=core.own_id, router=router, rng=rng, now=0.0, wall_clock=lambda: 0.0)
    core.handlers |= router.handlers() | store.handlers()
    for number in range(200):
        other = Address(f"78.0.{number}.1", 2000 + number)
        hello = Request(tid=number, to=HERE, command=0, internal=True, id=node_id(other))
        core.receive_datagram(hello.encode(), other, number * 0.01)
    core.outbox.clear()
    return core


@pytest.mark.parametrize(("command", "internal"), COMMANDS)
def test_a_forged_request_makes_one_small_reply_at_most(command: int, internal: bool) -> None:
    core = full_node(random.Random(1))
    target = blake2b_256(KeyPair.from_seed(bytes(32)).public_key)
    request = Request(tid=7, to=HERE, command=command, internal=internal, target=target).encode()
    core.receive_datagram(request, VICTIM, 10.0)
    replies = [data for data, to in core.outbox if to == VICTIM]
    assert len(replies) <= 1
    assert sum(map(len, replies)) <= min(MAX_REPLY_BYTES, 8 * len(request))


def test_requests_are_answered_at_all() -> None:
    core = full_node(random.Random(1))
    lookup = Request(tid=7, to=HERE, command=Command.LOOKUP, target=bytes(32)).encode()
    core.receive_datagram(lookup, VICTIM, 10.0)
    ((reply, to),) = core.outbox
    assert to == VICTIM and len(reply) > len(lookup)
