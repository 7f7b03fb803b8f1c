"""Addresses, ids, ranges, bootstrap spellings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.codec import Reader, Writer
from hypercore.dht import constants
from hypercore.dht.address import (
    Address,
    AddressFormatError,
    BootstrapNode,
    encode_address,
    is_bogon,
    is_private,
    is_reserved,
    nearest_first,
    node_id,
    pack_addresses,
    parse_bootstrap,
    read_address6,
    unpack_addresses,
    write_address6,
)
from hypercore.errors import LocalProtocolError
from support.dht_strategies import ipv4
from support.dht_vectors import load, params

HASHES = load("hashes")


@pytest.mark.parametrize("vector", **params([v for v in HASHES if v["name"].startswith("node id")]))
def test_node_id_is_the_hash_of_the_address(vector):
    here = Address(vector["inputs"]["host"], vector["inputs"]["port"])
    assert encode_address(here).hex() == vector["inputs"]["encodedAddress"]
    assert node_id(here).hex() == vector["output"]


@pytest.mark.parametrize(
    "name",
    ["NS_ANNOUNCE", "NS_UNANNOUNCE", "NS_MUTABLE_PUT", "NS_PEER_HANDSHAKE", "NS_PEER_HOLEPUNCH"],
)
def test_namespace_is_the_official_one(name):
    assert getattr(constants, name).hex() == next(v["output"] for v in HASHES if v["name"] == name)


@given(st.lists(ipv4, max_size=20))
def test_packed_addresses_come_back(addresses):
    assert unpack_addresses(pack_addresses(addresses)) == addresses


@pytest.mark.parametrize("host", ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "localhost", "::1", "1.2.3.-4"])
def test_only_ipv4_can_be_written(host):
    with pytest.raises(LocalProtocolError):
        encode_address(Address(host, 1))


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("2001:db8::1", "2001:db8:0:0:0:0:0:1"),
        ("::", "0:0:0:0:0:0:0:0"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
    ],
)
def test_ipv6_is_printed_without_compression(text, spelled):
    w = Writer()
    write_address6(w, Address(text, 80))
    assert read_address6(Reader(bytes(w))) == Address(spelled, 80)


def test_broken_ipv6_cannot_be_written():
    for host in ("1:2:3", "1.2.3.4", "12345::", "1:2:3:4:5:6:7:8:9"):
        with pytest.raises(LocalProtocolError):
            write_address6(Writer(), Address(host, 80))


PRIVATE = [
    "10.1.2.3",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "169.254.9.9",
    "172.31.0.1",
    "192.168.1.1",
]
RESERVED = ["0.0.0.0", "192.0.0.1", "192.0.2.9", "198.19.0.1", "198.51.100.1", "203.0.113.7", "224.0.0.1"]
PUBLIC = [
    "8.8.8.8",
    "100.128.0.1",
    "172.32.0.1",
    "192.169.0.1",
    "198.20.0.1",
    "88.99.3.86",
    "223.255.255.255",
]


def test_ranges_are_those_of_the_official_list():
    for host in PRIVATE:
        assert is_private(host) and is_bogon(host) and not is_reserved(host)
    for host in RESERVED:
        assert is_reserved(host) and is_bogon(host) and not is_private(host)
    for host in PUBLIC:
        assert not is_bogon(host)


def test_lan_addresses_with_the_longest_common_prefix_come_first():
    ours = [Address("10.0.0.9", 1), Address("192.168.122.238", 1)]
    far, near, nearest = Address("192.1.0.1", 2), Address("192.168.0.23", 2), Address("192.168.122.1", 2)
    nowhere, also_nowhere = Address("11.0.0.1", 2), Address("12.0.0.1", 2)
    everything = [nowhere, far, near, also_nowhere, nearest]
    assert nearest_first(ours, everything) == [nearest, near, far, nowhere, also_nowhere]
    assert nearest_first([], everything) == everything
    assert nearest_first(ours, []) == []


def test_bootstrap_is_read_in_every_spelling():
    assert parse_bootstrap("node1.example:49737") == BootstrapNode("node1.example", 49737, None)
    assert parse_bootstrap("88.99.3.86@node1.example:49737") == BootstrapNode(
        "node1.example", 49737, "88.99.3.86"
    )
    assert parse_bootstrap("127.0.0.1:80") == BootstrapNode("127.0.0.1", 80, "127.0.0.1")
    assert parse_bootstrap(("127.0.0.1", 80)) == BootstrapNode("127.0.0.1", 80, "127.0.0.1")


def test_a_node_that_was_read_is_handed_on_and_written_as_it_is_read():
    for text in ("node1.example:49737", "88.99.3.86@node1.example:49737", "127.0.0.1:80"):
        node = parse_bootstrap(text)
        assert parse_bootstrap(node) is node
        assert str(node) == text
        assert node.label == text.rpartition("@")[2]
    assert all(node.address for node in constants.BOOTSTRAP_NODES)


@pytest.mark.parametrize("text", ["", "host", "host:", "host:x", ":80", "host:0", "host:65536", "x@host:80"])
def test_broken_bootstrap_says_what_was_expected(text):
    with pytest.raises(AddressFormatError, match="not a bootstrap node"):
        parse_bootstrap(text)
