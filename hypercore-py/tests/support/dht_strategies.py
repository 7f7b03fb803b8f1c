"""Hypothesis strategies that several of the DHT's tests share."""

from hypothesis import strategies as st

from hypercore.dht.address import Address

ipv4 = st.builds(
    Address,
    st.tuples(*[st.integers(0, 255)] * 4).map(lambda parts: ".".join(map(str, parts))),
    st.integers(0, 65535),
)
hashes = st.binary(min_size=32, max_size=32)
