"""Addresses of nodes: encodings, ids, ranges.

Wire form: four bytes of IPv4 in dotted order, then the port little endian (compact-encoding `ipv4Address`;
dht-rpc lib/peer.js). A node's id is the unkeyed hash of those six bytes, so an id cannot be chosen without
choosing an address. Private and reserved ranges: holepunchto/bogon index.js.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from ..codec import Reader, Writer
from ..crypto import blake2b_256
from ..errors import FrameDecodeError, HypercoreError, LocalProtocolError

ADDRESS_BYTES = 6
"""Bytes of one IPv4 address with its port."""

MAX_ADDRESSES = 1024
"""Addresses in one list that a decoder accepts; a datagram holds fewer than 350."""


CACHED_ADDRESSES = 16384
"""Addresses with cached encodings and ids: queries meet the same few hundred repeatedly."""


class AddressFormatError(HypercoreError, ValueError):
    """An address given by a person or a setting has the wrong form."""

    code = "INVALID_ADDRESS"


class Address(NamedTuple):
    """`host` is dotted IPv4. `port` 0 in a list of a peer's addresses means: a different one every time."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@lru_cache(maxsize=CACHED_ADDRESSES)
def encode_address(address: tuple[str, int]) -> bytes:
    """The six bytes of an address. Raises LocalProtocolError if it is not IPv4."""
    host, port = address
    try:
        raw = bytes(map(int, host.split(".")))
        if len(raw) != 4:
            raise ValueError
        return raw + port.to_bytes(2, "little")
    except (ValueError, OverflowError):
        raise LocalProtocolError(f"{host!r} port {port} is not an IPv4 address") from None


@lru_cache(maxsize=CACHED_ADDRESSES)
def decode_address(raw: bytes) -> Address:
    """The reverse of `encode_address`; `raw` is exactly six bytes."""
    return Address(f"{raw[0]}.{raw[1]}.{raw[2]}.{raw[3]}", raw[4] | raw[5] << 8)


def read_address(r: Reader) -> Address:
    return decode_address(r.fixed(ADDRESS_BYTES))


def write_address(w: Writer, address: tuple[str, int]) -> Writer:
    return w.raw(encode_address(address))


def read_addresses(r: Reader) -> tuple[Address, ...]:
    count = r.uint()
    if count > MAX_ADDRESSES:
        raise FrameDecodeError(f"{count} addresses, at most {MAX_ADDRESSES} are accepted")
    raw = r.fixed(ADDRESS_BYTES * count)
    return tuple([decode_address(raw[at : at + ADDRESS_BYTES]) for at in range(0, len(raw), ADDRESS_BYTES)])


def write_addresses(w: Writer, addresses: Sequence[tuple[str, int]]) -> Writer:
    return w.array(addresses, write_address)


def read_address6(r: Reader) -> Address:
    """IPv6: eight groups big endian, port little endian. Printed without `::`."""
    raw = r.fixed(16)
    return Address(":".join(f"{raw[i] << 8 | raw[i + 1]:x}" for i in range(0, 16, 2)), r.uint16())


def write_address6(w: Writer, address: Address) -> Writer:
    """`host` may use `::`. Raises LocalProtocolError if it is not IPv6."""
    head, gap, tail = address.host.partition("::")
    try:
        left = [int(group, 16) for group in head.split(":")] if head else []
        right = [int(group, 16) for group in tail.split(":")] if tail else []
        groups = left + [0] * (8 - len(left) - len(right)) + right if gap else left
        if len(groups) != 8:
            raise ValueError
        return w.raw(b"".join(group.to_bytes(2, "big") for group in groups)).uint16(address.port)
    except (ValueError, OverflowError):
        raise LocalProtocolError(f"{address.host!r} is not an IPv6 address") from None


def pack_addresses(addresses: Iterable[tuple[str, int]]) -> bytes:
    """The addresses, six bytes each: a small form for the closest nodes of thousands of topics."""
    return b"".join(map(encode_address, addresses))


def unpack_addresses(packed: bytes) -> list[Address]:
    """The reverse of `pack_addresses`."""
    return [decode_address(packed[i : i + ADDRESS_BYTES]) for i in range(0, len(packed), ADDRESS_BYTES)]


@lru_cache(maxsize=CACHED_ADDRESSES)
def node_id(address: tuple[str, int]) -> bytes:
    """The id of the node at `address`."""
    return blake2b_256(encode_address(address))


def _network(text: str) -> tuple[int, int]:
    host, _, bits = text.partition("/")
    shift = 32 - int(bits)
    return _host_number(host) >> shift, shift


def _host_number(host: str) -> int:
    a, b, c, d = host.split(".")
    return int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)


_PRIVATE = tuple(
    map(
        _network,
        ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
    )
)
_RESERVED = tuple(
    map(
        _network,
        (
            "0.0.0.0/8",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ),
    )
)


def is_private(host: str) -> bool:
    """Whether `host` is in a local network or on this machine."""
    number = _host_number(host)
    return any(number >> shift == prefix for prefix, shift in _PRIVATE)


def is_reserved(host: str) -> bool:
    """Whether `host` is in a reserved range."""
    number = _host_number(host)
    return any(number >> shift == prefix for prefix, shift in _RESERVED)


def is_bogon(host: str) -> bool:
    """Whether `host` is private or reserved, so no host of the Internet."""
    return is_private(host) or is_reserved(host)


def nearest_first(ours: Iterable[Address], theirs: Iterable[Address]) -> list[Address]:
    """`theirs`, sorted by the longest prefix of whole bytes (three, two, one) shared with one of ours."""
    mine = [address.host.split(".")[:3] for address in ours]

    def distance(address: Address) -> int:
        groups = address.host.split(".")[:3]
        shared = (next((i for i in range(3) if groups[i] != other[i]), 3) for other in mine)
        return -max(shared, default=0)

    return sorted(theirs, key=distance)


class BootstrapNode(NamedTuple):
    """A bootstrap node. A known `address` is tried before `host` is looked up."""

    host: str
    port: int
    address: str | None = None

    @property
    def label(self) -> str:
        """`host:port`, for people."""
        return f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """The form that `parse_bootstrap` reads."""
        return self.label if self.address in (None, self.host) else f"{self.address}@{self.label}"


def is_ipv4(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and all(part.isascii() and part.isdigit() and int(part) <= 255 for part in parts)


_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def is_host(text: str) -> bool:
    """Whether `text` can be a host: an IPv4 address or a DNS name."""
    labels = text.removesuffix(".").split(".")
    if labels[-1].isdigit():
        return is_ipv4(text)
    return len(text) <= 253 and all(map(_LABEL.fullmatch, labels))


def parse_bootstrap(text: str | tuple[str, int] | BootstrapNode) -> BootstrapNode:
    """`host:port` or `ip@host:port`, or the two parts; a BootstrapNode is returned as it is.

    Raises AddressFormatError with what was expected.
    """
    if isinstance(text, BootstrapNode):
        return text
    if not isinstance(text, str):
        host, port = text
        text = f"{host}:{port}"
    name, colon, port_text = text.strip().rpartition(":")
    suggested, at, host = name.rpartition("@")
    if not colon or not host or not port_text.isascii() or not port_text.isdigit():
        raise AddressFormatError(f"{text!r} is not a bootstrap node: expected HOST:PORT or IPV4@HOST:PORT")
    if not is_host(host):
        raise AddressFormatError(
            f"{text!r} is not a bootstrap node: expected HOST:PORT, and {host!r} is no name of a host"
        )
    if not 0 < int(port_text[:6]) < 65536:
        raise AddressFormatError(
            f"{text!r} is not a bootstrap node: expected HOST:PORT with a port from 1 to 65535"
        )
    if at and not is_ipv4(suggested):
        raise AddressFormatError(
            f"{text!r} is not a bootstrap node: expected IPV4@HOST:PORT, and {suggested!r} is no IPv4 address"
        )
    return BootstrapNode(host, int(port_text), suggested or (host if is_ipv4(host) else None))
