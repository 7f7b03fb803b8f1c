"""Whatever arrives, a node with all its parts swallows it: mutated captures, and well formed nonsense."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.crypto import KeyPair, blake2b_256
from hypercore.dht.address import Address, node_id
from hypercore.dht.constants import Command, Firewall
from hypercore.dht.handshake_router import Router
from hypercore.dht.network_profile import NetworkProfile
from hypercore.dht.node import DhtCore
from hypercore.dht.packet import Request, Response
from hypercore.dht.record_store import Store
from hypercore.dht.relays import AnnouncedRelays
from hypercore.dht.server_core import ServerCore
from support.dht_strategies import hashes, ipv4, messages
from support.dht_vectors import load, unhex

HERE = Address("77.0.0.1", 49737)
SERVER = KeyPair.from_seed(b"\x01" * 32)
CAPTURED = [
    unhex(packet["hex"])
    for session in load("dht-session")
    for packet in session["output"]["packets"]
    if not packet["hex"].endswith("B")
]


class Everything:
    """A persistent node that stores, relays and serves."""

    def __init__(self):
        self.now = 0.0
        rng = random.Random(1)
        self.core = DhtCore(rng=rng, now=0.0, address=HERE)
        router = Router(0.0)
        store = Store(own_id=self.core.own_id, router=router, rng=rng, now=0.0, wall_clock=lambda: 0.0)
        self.core.handlers |= router.handlers() | store.handlers()
        self.server = ServerCore(
            SERVER,
            relays=AnnouncedRelays(),
            profile=lambda: NetworkProfile(firewall=Firewall.CONSISTENT, seen=(HERE,)),
            open_stream=lambda session: 7,
            random_bytes=rng.randbytes,
        )
        router.servers[self.server.target] = self.server
        self.core.ping(Address("78.0.0.1", 1), 0.0)

    def feed(self, data, source):
        self.now += 0.5
        self.core.receive((data, source), self.now)
        self.server.punch_received(source, self.now)
        self.core.handle_timer(self.now)
        self.server.handle_timer(self.now)
        self.core.take_output(self.now)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(CAPTURED),
            st.lists(st.tuples(st.integers(0, 800), st.integers(0, 255)), max_size=6),
            st.integers(0, 900),
            ipv4,
        ),
        max_size=8,
    )
)
def test_mutated_captures_do_no_harm(packets):
    everything = Everything()
    for data, mutations, cut, source in packets:
        mutated = bytearray(data)
        for at, value in mutations:
            mutated[at % len(mutated)] = value
        everything.feed(bytes(mutated[:cut] if cut < len(mutated) else mutated), source)


TARGETS = st.sampled_from([blake2b_256(SERVER.public_key), bytes(32)]) | hashes


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.builds(
                Request,
                tid=st.integers(0, 65535),
                to=ipv4,
                command=st.integers(0, 12),
                internal=st.booleans(),
                target=st.none() | TARGETS,
                token=st.none() | st.just(b"valid"),
                value=st.none() | messages.map(lambda message: message.encode()) | st.binary(max_size=60),
            )
            | st.builds(
                Response,
                tid=st.integers(0, 65535),
                to=ipv4,
                closer_nodes=st.lists(ipv4, max_size=5).map(tuple),
                error=st.integers(0, 3),
                value=st.none() | st.binary(max_size=60),
            ),
            ipv4,
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_well_formed_nonsense_does_no_harm(packets):
    everything = Everything()
    for packet, source, persistent in packets:
        fields = {"id": node_id(source) if persistent else None}
        if packet.token is not None:
            fields["token"] = everything.core.issue_token(source.host)
        changed = type(packet)(**{name: getattr(packet, name) for name in packet.__slots__} | fields)
        everything.feed(changed.encode(), source)


def test_the_fuzzed_node_answers():
    everything = Everything()
    request = Request(tid=1, to=HERE, command=Command.LOOKUP, target=bytes(32))
    everything.core.receive((request.encode(), Address("79.0.0.1", 1)), 0.0)
    assert len(everything.core.take_output(0.0)) >= 1
