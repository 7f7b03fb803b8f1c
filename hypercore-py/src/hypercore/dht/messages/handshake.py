"""PEER_HANDSHAKE: the envelope that relays forward, and the payloads of the Noise messages.

Format: hyperdht lib/messages.js `handshake`, `noisePayload`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ...codec import Reader, Writer
from ..address import (
    MAX_ADDRESSES,
    Address,
    read_address,
    read_address6,
    read_addresses,
    write_address,
    write_address6,
    write_addresses,
)

MAX_STREAM_ID = 2**32 - 1
"""Highest id of a UDX stream: 32 bits of every packet."""

VERSION = 1
"""The version of Noise payloads that we support; of others only the version is decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """Flag bits: 1 peer address, 2 relay address."""

    mode: int
    noise: bytes
    peer_address: Address | None = None
    relay_address: Address | None = None

    def encode(self) -> bytes:
        """Return the encoded message."""
        w = Writer().uint((1 if self.peer_address else 0) | (2 if self.relay_address else 0))
        w.uint(self.mode).buffer(self.noise)
        if self.peer_address:
            write_address(w, self.peer_address)
        if self.relay_address:
            write_address(w, self.relay_address)
        return bytes(w)

    @classmethod
    def decode(cls, value: bytes) -> Handshake:
        """Decode a whole message. Raises FrameDecodeError."""
        r = Reader(value)
        flags = r.uint()
        return cls(
            mode=r.uint(),
            noise=r.buffer(),
            peer_address=read_address(r) if flags & 1 else None,
            relay_address=read_address(r) if flags & 2 else None,
        )


class RelayInfo(NamedTuple):
    """A node that relays for the server, and the server's address as that node sees it."""

    relay_address: Address
    peer_address: Address


class HolepunchInfo(NamedTuple):
    """`id` names the server's slot in later hole-punch messages."""

    id: int
    relays: tuple[RelayInfo, ...]


class UdxInfo(NamedTuple):
    """`id` is the sender's local stream id, which the other side sends to."""

    id: int
    seq: int = 0
    reusable_socket: bool = False
    version: int = 1

    @property
    def usable(self) -> bool:
        """Whether a stream can be connected to it."""
        return self.id <= MAX_STREAM_ID


class RelayThrough(NamedTuple):
    """A blind relay's public key, and the token under which it pairs the two sides."""

    public_key: bytes
    token: bytes
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisePayload:
    """Flag bits: 1 holepunch, 2 IPv4 addresses, 4 IPv6 addresses, 8 udx, 16 secret stream, 32 relay through,
    64 relay addresses."""

    version: int = VERSION
    error: int = 0
    firewall: int = 0
    holepunch: HolepunchInfo | None = None
    addresses4: tuple[Address, ...] = ()
    addresses6: tuple[Address, ...] = ()
    udx: UdxInfo | None = None
    secret_stream: int | None = None
    """Version of the secret stream."""
    relay_through: RelayThrough | None = None
    relay_addresses: tuple[Address, ...] | None = None

    def encode(self) -> bytes:
        """Return the encoded message."""
        flags = (
            (1 if self.holepunch else 0)
            | (2 if self.addresses4 else 0)
            | (4 if self.addresses6 else 0)
            | (8 if self.udx else 0)
            | (16 if self.secret_stream is not None else 0)
            | (32 if self.relay_through else 0)
            | (64 if self.relay_addresses is not None else 0)
        )
        w = Writer().uint(self.version).uint(flags).uint(self.error).uint(self.firewall)
        if self.holepunch:
            w.uint(self.holepunch.id).array(self.holepunch.relays, _write_relay)
        if self.addresses4:
            write_addresses(w, self.addresses4)
        if self.addresses6:
            w.array(self.addresses6, write_address6)
        if self.udx:
            w.uint(self.udx.version).uint(1 if self.udx.reusable_socket else 0)
            w.uint(self.udx.id).uint(self.udx.seq)
        if self.secret_stream is not None:
            w.uint(self.secret_stream)
        if self.relay_through:
            w.uint(self.relay_through.version).uint(0)
            w.fixed32(self.relay_through.public_key).fixed32(self.relay_through.token)
        if self.relay_addresses is not None:
            write_addresses(w, self.relay_addresses)
        return bytes(w)

    @classmethod
    def decode(cls, value: bytes) -> NoisePayload:
        """A payload of another version decodes to its version alone, so that it can be answered."""
        r = Reader(value)
        version = r.uint()
        if version != VERSION:
            return cls(version=version)
        flags = r.uint()
        return cls(
            error=r.uint(),
            firewall=r.uint(),
            holepunch=_read_holepunch(r) if flags & 1 else None,
            addresses4=read_addresses(r) if flags & 2 else (),
            addresses6=tuple(r.array(read_address6, limit=MAX_ADDRESSES)) if flags & 4 else (),
            udx=_read_udx(r) if flags & 8 else None,
            secret_stream=r.uint() if flags & 16 else None,
            relay_through=_read_relay_through(r) if flags & 32 else None,
            relay_addresses=read_addresses(r) if flags & 64 else None,
        )


def _write_relay(w: Writer, relay: RelayInfo) -> None:
    write_address(w, relay.relay_address)
    write_address(w, relay.peer_address)


def _read_holepunch(r: Reader) -> HolepunchInfo:
    slot = r.uint()
    relays = r.array(lambda r: RelayInfo(read_address(r), read_address(r)), limit=MAX_ADDRESSES)
    return HolepunchInfo(slot, tuple(relays))


def _read_udx(r: Reader) -> UdxInfo:
    version, features = r.uint(), r.uint()
    return UdxInfo(version=version, reusable_socket=bool(features & 1), id=r.uint(), seq=r.uint())


def _read_relay_through(r: Reader) -> RelayThrough:
    version, _flags = r.uint(), r.uint()
    return RelayThrough(version=version, public_key=r.fixed32(), token=r.fixed32())
