"""Whatever arrives, a node with all its parts swallows it: mutated captures, and well formed nonsense."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.crypto import blake2b_256
from hypercore.dht.address import Address, node_id
from hypercore.dht.constants import Command
from hypercore.dht.packet import Request, Response
from hypercore.testing.serving_node import HERE, SERVER, ServingNode
from support.dht_strategies import hashes, ipv4, messages
from support.dht_vectors import load, unhex
from support.examples import examples

CAPTURED = [
    unhex(packet["hex"])
    for session in load("dht-session")
    for packet in session["output"]["packets"]
    if not packet["hex"].endswith("B")
]


@settings(max_examples=examples(200))
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
    node = ServingNode(Random(1))
    for data, mutations, cut, source in packets:
        mutated = bytearray(data)
        for at, value in mutations:
            mutated[at % len(mutated)] = value
        node.feed(bytes(mutated[:cut] if cut < len(mutated) else mutated), source)


TARGETS = st.sampled_from([blake2b_256(SERVER.public_key), bytes(32)]) | hashes


@settings(max_examples=examples(300))
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
    node = ServingNode(Random(1))
    for packet, source, persistent in packets:
        fields = {"id": node_id(source) if persistent else None}
        if packet.token is not None:
            fields["token"] = node.core.issue_token(source.host)
        changed = type(packet)(**{name: getattr(packet, name) for name in packet.__slots__} | fields)
        node.feed(changed.encode(), source)


def test_the_fuzzed_node_answers():
    node = ServingNode(Random(1))
    request = Request(tid=1, to=HERE, command=Command.LOOKUP, target=bytes(32))
    node.core.receive((request.encode(), Address("79.0.0.1", 1)), 0.0)
    assert len(node.core.take_output(0.0)) >= 1
