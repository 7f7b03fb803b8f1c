"""The part of Protocol Buffers that Hyperbee uses: varints, length-delimited fields, packed varints.

Format: protobuf.dev/programming-guides/encoding, as the npm package `protocol-buffers` (4) reads and writes
it: fields in the order of their numbers, empty packed fields left out, unknown fields skipped, the last of
a repeated scalar wins.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..codec import MAX_SAFE_INTEGER
from ..errors import InvalidContent, LocalProtocolError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types. 3 and 4 (groups) are refused."""


Field = tuple[int, int | bytes]
"""Number and value of a field: an integer for a varint, bytes for everything else."""


def read_varint(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """LEB128. Returns the value, at most 2^53-1, and the position after it."""
    value = shift = 0
    while pos < end:
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > MAX_SAFE_INTEGER:
                raise InvalidContent(f"protobuf: integer {value} is above 2^53-1")
            return value, pos
        shift += 7
        if shift >= 70:
            raise InvalidContent("protobuf: integer of more than 10 bytes")
    raise InvalidContent("protobuf: the message ends inside an integer")


def read_fields(data: bytes) -> Iterator[Field]:
    """The fields of a message in the order they are stored. Raises InvalidContent."""
    pos, end = 0, len(data)
    while pos < end:
        tag = data[pos]
        pos += 1
        if tag > 0x7F:
            tag, pos = read_varint(data, pos - 1, end)
        wire_type = tag & 7
        if wire_type == BYTES:
            if pos < end and data[pos] <= 0x7F:  # the frequent case of small numbers, without a call
                size = data[pos]
                pos += 1
            else:
                size, pos = read_varint(data, pos, end)
        elif wire_type == VARINT:
            value, pos = read_varint(data, pos, end)
            yield tag >> 3, value
            continue
        elif wire_type == FIXED64:
            size = 8
        elif wire_type == FIXED32:
            size = 4
        else:
            raise InvalidContent(f"protobuf: wire type {wire_type} is not used")
        if size > end - pos:
            raise InvalidContent(f"protobuf: field of {size} bytes, {end - pos} are left")
        yield tag >> 3, data[pos : pos + size]
        pos += size


def as_bytes(value: int | bytes) -> bytes:
    """The value of a field that must be length-delimited."""
    if isinstance(value, int):
        raise InvalidContent("protobuf: an integer where bytes were expected")
    return value


def extend_packed(values: list[int], value: int | bytes, limit: int) -> None:
    """Append the integers of a repeated field, packed or single. Raises InvalidContent above `limit`
    values."""
    if isinstance(value, int):
        values.append(value)
    elif len(value) > 10 * limit:
        raise InvalidContent(
            f"protobuf: {len(value)} bytes of integers, at most {limit} integers are accepted"
        )
    elif value.isascii():  # every integer is below 128, so they are the bytes
        values.extend(value)
    else:
        pos, end = 0, len(value)
        while pos < end:
            number, pos = read_varint(value, pos, end)
            values.append(number)
    if len(values) > limit:
        raise InvalidContent(f"protobuf: more than {limit} integers in one field")


def write_varint(out: bytearray, value: int) -> None:
    if not 0 <= value <= MAX_SAFE_INTEGER:
        raise LocalProtocolError(f"integer {value} cannot be written: 0 to 2^53-1 can")
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def write_bytes(out: bytearray, number: int, value: bytes | bytearray) -> None:
    write_varint(out, number << 3 | BYTES)
    write_varint(out, len(value))
    out += value


def write_packed(out: bytearray, number: int, values: list[int]) -> None:
    """Write a packed field; an empty list writes nothing."""
    if values:
        packed = bytearray()
        for value in values:
            write_varint(packed, value)
        write_bytes(out, number, packed)
