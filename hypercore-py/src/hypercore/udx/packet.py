"""The UDX packet: a header of 20 bytes, the data offset's worth of bytes to skip, payload.

Source: libudx src/udx.c and include/udx.h (a9af5de); transport.md a.2. Integers are little endian. Packets
are numbered, not bytes; numbers wrap at 2^32 and are compared by their signed difference.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from .._types import Buffer
from ..errors import FrameDecodeError

HEADER_BYTES = 20
MAGIC_AND_VERSION = 0x01FF
"""The first two bytes as a little-endian integer: magic 0xff, version 1."""

FLAG_DATA = 0x01
FLAG_END = 0x02
FLAG_SACK = 0x04
FLAG_MESSAGE = 0x08
FLAG_DESTROY = 0x10
FLAG_HEARTBEAT = 0x20

SEQUENCE_MASK = 0xFFFFFFFF
SEQUENCE_HALF = 0x80000000

MAX_SACK_RANGES = 50
"""Ranges in a SACK packet (libudx internal.h); further ones of a peer are ignored."""

RawHeader = tuple[int, int, int, int, int]
"""The header as five u32: first word (see `first_word`), stream id, window, seq, ack."""

RawPacket = tuple[RawHeader, Buffer]
"""A header and the bytes behind it."""

header_struct = Struct("<IIIII")
pack_header = header_struct.pack
_unpack_header = header_struct.unpack_from
_range_struct = Struct("<II")


def first_word(flags: int, data_offset: int = 0) -> int:
    """Magic, version, flags and data offset: the first four bytes as one little-endian integer."""
    return MAGIC_AND_VERSION | flags << 16 | data_offset << 24


class Packet(NamedTuple):
    """A decoded packet. `window` is in bytes; `stream_id` is the receiver's own id of the stream."""

    flags: int
    stream_id: int
    window: int
    seq: int
    ack: int
    payload: bytes = b""
    sacks: tuple[tuple[int, int], ...] = ()
    """Half-open runs of packet numbers that have arrived beyond `ack`."""
    padding: int = 0
    """Bytes between header and payload."""

    def encode(self) -> bytes:
        """The datagram."""
        area = encode_sacks(self.sacks) if self.sacks else bytes(self.padding)
        offset = len(area) if self.payload or not self.sacks else 0
        word = first_word(self.flags, offset)
        return pack_header(word, self.stream_id, self.window, self.seq, self.ack) + area + self.payload

    @classmethod
    def decode(cls, datagram: Buffer) -> Packet:
        """Decode a datagram. Raises FrameDecodeError if it is no UDX packet or its data offset is too
        large."""
        if len(datagram) < HEADER_BYTES:
            raise FrameDecodeError(f"a UDX packet of {len(datagram)} bytes")
        word, stream_id, window, seq, ack = _unpack_header(datagram)
        if word & 0xFFFF != MAGIC_AND_VERSION:
            raise FrameDecodeError("not a UDX packet of version 1")
        flags, offset = word >> 16 & 0xFF, word >> 24
        rest = memoryview(datagram)[HEADER_BYTES:]
        if offset > len(rest):
            raise FrameDecodeError(f"a data offset of {offset} in {len(rest)} bytes")
        sacks: tuple[tuple[int, int], ...] = ()
        payload = bytes(rest[offset:])
        if flags & FLAG_SACK:
            sacks = tuple(decode_sacks(rest, offset))
            if not offset:
                payload = b""
        return cls(flags, stream_id, window, seq, ack, payload, sacks, 0 if sacks else offset)


def encode_sacks(ranges: tuple[tuple[int, int], ...] | list[tuple[int, int]]) -> bytes:
    """The SACK area: pairs of u32, as many as a packet may carry."""
    return b"".join(_range_struct.pack(start, end) for start, end in ranges[:MAX_SACK_RANGES])


def decode_sacks(rest: Buffer, data_offset: int) -> list[tuple[int, int]]:
    """The ranges in `rest`, the bytes behind the header. An incomplete range at the end is ignored."""
    size = data_offset if 0 < data_offset < len(rest) else len(rest)
    count = min(size // 8, MAX_SACK_RANGES)
    return list(_range_struct.iter_unpack(rest[: count * 8]))


def sequence_distance(start: int, end: int) -> int:
    """Signed number of packets from `start` to `end`."""
    distance = (end - start) & SEQUENCE_MASK
    return distance - 0x1_0000_0000 if distance >= SEQUENCE_HALF else distance
