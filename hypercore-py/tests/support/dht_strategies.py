"""Hypothesis strategies that several of the DHT's tests share."""

from hypothesis import strategies as st

from hypercore.dht.address import Address
from hypercore.dht.messages import (
    Announce,
    Handshake,
    Holepunch,
    HolepunchInfo,
    HolepunchPayload,
    MutablePut,
    MutableRecord,
    NoisePayload,
    PeerRecord,
    PluginRequest,
    RelayInfo,
    RelayThrough,
    UdxInfo,
)

ipv4 = st.builds(
    Address,
    st.tuples(*[st.integers(0, 255)] * 4).map(lambda parts: ".".join(map(str, parts))),
    st.integers(0, 65535),
)
hashes = st.binary(min_size=32, max_size=32)
lists = st.lists(ipv4, max_size=5).map(tuple)
small = st.integers(0, 2**53 - 1)
peers = st.builds(PeerRecord, public_key=hashes, relay_addresses=lists)
signatures = st.binary(min_size=64, max_size=64)
ipv6 = st.builds(
    Address,
    st.tuples(*[st.integers(0, 65535)] * 8).map(lambda groups: ":".join(f"{g:x}" for g in groups)),
    st.integers(0, 65535),
)
messages = st.one_of(
    st.builds(
        Handshake,
        mode=small,
        noise=st.binary(max_size=200),
        peer_address=st.none() | ipv4,
        relay_address=st.none() | ipv4,
    ),
    st.builds(
        NoisePayload,
        version=st.just(1),
        error=small,
        firewall=small,
        holepunch=st.none()
        | st.builds(HolepunchInfo, small, st.lists(st.builds(RelayInfo, ipv4, ipv4), max_size=3).map(tuple)),
        addresses4=lists,
        addresses6=st.lists(ipv6, max_size=3).map(tuple),
        udx=st.none() | st.builds(UdxInfo, id=small, seq=small, reusable_socket=st.booleans(), version=small),
        secret_stream=st.none() | small,
        relay_through=st.none() | st.builds(RelayThrough, hashes, hashes, small),
        relay_addresses=st.none() | lists,
    ),
    st.builds(Holepunch, mode=small, id=small, payload=st.binary(max_size=99), peer_address=st.none() | ipv4),
    st.builds(
        HolepunchPayload,
        error=small,
        firewall=small,
        round=small,
        connected=st.booleans(),
        punching=st.booleans(),
        addresses=st.none() | lists,
        remote_address=st.none() | ipv4,
        token=st.none() | hashes,
        remote_token=st.none() | hashes,
    ),
    peers,
    st.builds(
        Announce,
        peer=st.none() | peers,
        refresh=st.none() | hashes,
        signature=st.none() | signatures,
        bump=small,
    ),
    st.builds(MutableRecord, seq=small, value=st.binary(max_size=99), signature=signatures),
    st.builds(MutablePut, public_key=hashes, seq=small, value=st.binary(max_size=99), signature=signatures),
    st.builds(
        PluginRequest,
        plugin=st.text(max_size=9),
        version=small,
        command=small,
        value=st.none() | st.binary(max_size=99),
    ),
)
