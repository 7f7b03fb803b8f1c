"""Requests and responses of the DHT's RPC.

Format: dht-rpc lib/io.js `_encodeRequest`, `_sendReply` (6.27.0). One datagram each; the first byte
distinguishes them from hole-punch bytes (length 1) and UDX packets (first byte 0xff).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..codec import Reader, Writer
from ..errors import FrameDecodeError
from .address import Address, read_address, read_addresses, write_address, write_addresses

REQUEST = 0x03
RESPONSE = 0x13

MAX_PACKET_BYTES = 2048
"""Bytes of the longest datagram that is parsed; official nodes read into buffers of this size (udx.h)."""


Datagram = tuple[bytes | memoryview, Address]
"""Bytes, and their source or destination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Flag bits: 1 id, 2 token, 4 internal, 8 target, 16 value."""

    tid: int
    """16 bits, unique among the requests that its sender has in flight."""
    to: Address
    """The receiver's address as the sender sees it."""
    command: int
    internal: bool = False
    id: bytes | None = None
    """Only from persistent nodes."""
    token: bytes | None = None
    target: bytes | None = None
    value: bytes | None = None

    def encode(self) -> bytes:
        """Return the encoded message."""
        flags = (
            (1 if self.id is not None else 0)
            | (2 if self.token is not None else 0)
            | (4 if self.internal else 0)
            | (8 if self.target is not None else 0)
            | (16 if self.value is not None else 0)
        )
        w = Writer().uint8(REQUEST).uint8(flags).uint16(self.tid)
        write_address(w, self.to)
        if self.id is not None:
            w.fixed32(self.id)
        if self.token is not None:
            w.fixed32(self.token)
        w.uint(self.command)
        if self.target is not None:
            w.fixed32(self.target)
        if self.value is not None:
            w.buffer(self.value)
        return bytes(w)

    @classmethod
    def decode(cls, r: Reader) -> Request:
        """Reads what follows the first byte."""
        flags = r.uint()
        return cls(
            tid=r.uint16(),
            to=read_address(r),
            id=r.fixed32() if flags & 1 else None,
            token=r.fixed32() if flags & 2 else None,
            internal=bool(flags & 4),
            command=r.uint(),
            target=r.fixed32() if flags & 8 else None,
            value=r.buffer() if flags & 16 else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """Flag bits: 1 id, 2 token, 4 closer nodes, 8 error, 16 value."""

    tid: int
    to: Address
    """The requester's address as the responder sees it: so nodes learn their public address."""
    id: bytes | None = None
    token: bytes | None = None
    closer_nodes: tuple[Address, ...] = ()
    error: int = 0
    value: bytes | None = None

    def encode(self) -> bytes:
        flags = (
            (1 if self.id is not None else 0)
            | (2 if self.token is not None else 0)
            | (4 if self.closer_nodes else 0)
            | (8 if self.error else 0)
            | (16 if self.value is not None else 0)
        )
        w = Writer().uint8(RESPONSE).uint8(flags).uint16(self.tid)
        write_address(w, self.to)
        if self.id is not None:
            w.fixed32(self.id)
        if self.token is not None:
            w.fixed32(self.token)
        if self.closer_nodes:
            write_addresses(w, self.closer_nodes)
        if self.error:
            w.uint(self.error)
        if self.value is not None:
            w.buffer(self.value)
        return bytes(w)

    @classmethod
    def decode(cls, r: Reader) -> Response:
        """Reads what follows the first byte."""
        flags = r.uint()
        return cls(
            tid=r.uint16(),
            to=read_address(r),
            id=r.fixed32() if flags & 1 else None,
            token=r.fixed32() if flags & 2 else None,
            closer_nodes=read_addresses(r) if flags & 4 else (),
            error=r.uint() if flags & 8 else 0,
            value=r.buffer() if flags & 16 else None,
        )


def decode_packet(data: bytes | memoryview) -> Request | Response:
    """A datagram as the request or response it is. Raises FrameDecodeError."""
    if not 2 <= len(data) <= MAX_PACKET_BYTES:
        raise FrameDecodeError(f"a DHT packet has 2 to {MAX_PACKET_BYTES} bytes, not {len(data)}")
    if data[0] == REQUEST:
        return Request.decode(Reader(data, 1))
    if data[0] == RESPONSE:
        return Response.decode(Reader(data, 1))
    raise FrameDecodeError(f"first byte {data[0]:#04x} is neither a request's nor a response's")
