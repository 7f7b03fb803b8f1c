"""A policy with peers to feed it."""

import random

from hypercore.dht.address import Address
from hypercore.swarm.policy import (
    SwarmPolicy,
)

US = b"\x80" * 32
TOPIC = b"\x01" * 32
OTHER_TOPIC = b"\x02" * 32
RELAYS = (Address("77.0.0.1", 1),)


def key(number):
    return number.to_bytes(32, "big")


def policy(**options):
    made = SwarmPolicy(US, rng=random.Random(1), **options)
    made.topics.add(TOPIC)
    return made


def found(made, number, now=0.0, topic=TOPIC, relays=RELAYS):
    made.peer_found(key(number), relays, topic, now)


def dial_all(made):
    return [info.public_key for info in iter(made.next_dial, None)]
