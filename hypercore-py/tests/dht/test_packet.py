"""Requests and responses against what the official encoder makes of them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.dht.address import Address
from hypercore.dht.packet import MAX_PACKET_BYTES, Request, Response, decode_packet
from hypercore.errors import FrameDecodeError
from support.dht_strategies import hashes, ipv4
from support.dht_vectors import address, addresses, load, params, unhex

VECTORS = load("dht-rpc")
REQUESTS = [v for v in VECTORS if v["name"].startswith("request")]
REPLIES = [v for v in VECTORS if v["name"].startswith("reply")]

requests = st.builds(
    Request,
    tid=st.integers(0, 65535),
    to=ipv4,
    command=st.integers(0, 2**53 - 1),
    internal=st.booleans(),
    id=st.none() | hashes,
    token=st.none() | hashes,
    target=st.none() | hashes,
    value=st.none() | st.binary(max_size=300),
)
responses = st.builds(
    Response,
    tid=st.integers(0, 65535),
    to=ipv4,
    id=st.none() | hashes,
    token=st.none() | hashes,
    closer_nodes=st.lists(ipv4, max_size=20).map(tuple),
    error=st.integers(0, 300),
    value=st.none() | st.binary(max_size=300),
)


def test_every_vector_is_covered():
    assert len(REQUESTS) + len(REPLIES) == len(VECTORS) == 16


@pytest.mark.parametrize("vector", **params(REQUESTS))
def test_request_has_the_official_bytes(vector):
    given_, wire = vector["inputs"], unhex(vector["output"])
    request = Request(
        tid=given_["tid"],
        to=address(given_["to"]),
        command=given_["command"],
        internal=given_["internal"],
        id=unhex(given_["senderId"]),
        token=unhex(given_["token"]),
        target=unhex(given_["target"]),
        value=unhex(given_["value"]),
    )
    assert request.encode() == wire
    assert decode_packet(wire) == request


@pytest.mark.parametrize("vector", **params(REPLIES))
def test_response_has_the_official_bytes(vector):
    given_, wire = vector["inputs"], unhex(vector["output"])
    response = Response(
        tid=given_["tid"],
        to=address(given_["to"]),
        id=unhex(given_["senderId"]),
        token=unhex(given_["token"]),
        closer_nodes=addresses(given_["closerNodes"]),
        error=given_["error"],
        value=unhex(given_["value"]),
    )
    assert response.encode() == wire
    assert decode_packet(wire) == response


@given(requests | responses, st.binary(max_size=8))
def test_packet_survives_a_round_trip_and_a_longer_tail(packet, tail):
    wire = packet.encode()
    assert decode_packet(wire) == packet
    assert decode_packet(wire + tail) == packet


@given(requests | responses)
def test_every_truncation_of_a_packet_is_refused(packet):
    wire = packet.encode()
    for size in range(len(wire)):
        with pytest.raises(FrameDecodeError):
            decode_packet(wire[:size])


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x03", b"\x13"]))
def test_garbage_raises_only_frame_decode_error(garbage, prefix):
    with suppress(FrameDecodeError):
        decode_packet(prefix + garbage)


def test_packet_longer_than_the_bound_is_refused():
    wire = Request(tid=1, to=Address("1.2.3.4", 5), command=0).encode()
    assert decode_packet(wire.ljust(MAX_PACKET_BYTES, b"\0"))
    with pytest.raises(FrameDecodeError):
        decode_packet(wire.ljust(MAX_PACKET_BYTES + 1, b"\0"))
