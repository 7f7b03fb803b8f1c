"""Writing compact encodings into a growing buffer, so that no format needs a sizing pass."""

from __future__ import annotations

from collections.abc import Callable, Collection
from struct import Struct
from typing import TypeVar

from .._types import Buffer
from ..errors import LocalProtocolError

T = TypeVar("T")

_U16 = Struct("<BH").pack
_U32 = Struct("<BI").pack
_U64 = Struct("<BQ").pack
_SMALL = [bytes([n]) for n in range(0xFD)]


def encode_uint(value: int) -> bytes:
    """The `uint` encoding of `value`: 1, 3, 5 or 9 bytes."""
    if 0 <= value <= 0xFC:
        return _SMALL[value]
    if value < 0 or value > 2**53 - 1:
        raise LocalProtocolError(f"integer {value} cannot be sent: 0 to 2^53-1 can")
    if value <= 0xFFFF:
        return _U16(0xFD, value)
    if value <= 0xFFFFFFFF:
        return _U32(0xFE, value)
    return _U64(0xFF, value)


class Writer:
    """Grows as it is written to. Methods return the writer, so that short messages are one expression.

    `bytes(writer)` is the message. Integers are little endian. Raises LocalProtocolError for what the format
    cannot say.
    """

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = bytearray()

    def __bytes__(self) -> bytes:
        return bytes(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def uint(self, value: int) -> Writer:
        """An integer of 1, 3, 5 or 9 bytes, 2^53 - 1 at most."""
        self.data += encode_uint(value)
        return self

    def uint8(self, value: int) -> Writer:
        """An unsigned integer of 1 byte."""
        self.data.append(value)
        return self

    def uint16(self, value: int) -> Writer:
        """An unsigned integer of 2 bytes, little-endian."""
        self.data += value.to_bytes(2, "little")
        return self

    def uint24(self, value: int) -> Writer:
        """An unsigned integer of 3 bytes, little-endian."""
        self.data += value.to_bytes(3, "little")
        return self

    def uint32(self, value: int) -> Writer:
        """An unsigned integer of 4 bytes, little-endian."""
        self.data += value.to_bytes(4, "little")
        return self

    def uint64(self, value: int) -> Writer:
        """An unsigned integer of 8 bytes, little-endian."""
        self.data += value.to_bytes(8, "little")
        return self

    def int_(self, value: int) -> Writer:
        """A signed integer, zigzag-encoded as `uint`."""
        return self.uint(value * 2 if value >= 0 else -value * 2 - 1)

    def bool_(self, value: bool) -> Writer:
        """A boolean of 1 byte."""
        self.data.append(1 if value else 0)
        return self

    def fixed(self, value: Buffer, size: int) -> Writer:
        """`size` bytes without a length. Raises LocalProtocolError if `value` has another size."""
        if len(value) != size:
            raise LocalProtocolError(f"expected {size} bytes, got {len(value)}")
        self.data += value
        return self

    def fixed32(self, value: bytes) -> Writer:
        """32 bytes without a length."""
        return self.fixed(value, 32)

    def fixed64(self, value: bytes) -> Writer:
        """64 bytes without a length."""
        return self.fixed(value, 64)

    def buffer(self, value: Buffer) -> Writer:
        """Bytes behind their length."""
        self.data += encode_uint(len(value))
        self.data += value
        return self

    def optional_buffer(self, value: bytes | None) -> Writer:
        """Bytes behind their length; None as an empty buffer."""
        return self.buffer(value or b"")

    def string(self, value: str) -> Writer:
        """Text as UTF-8 behind its length in bytes."""
        return self.buffer(value.encode("utf-8"))

    def array(self, values: Collection[T], item: Callable[[Writer, T], object]) -> Writer:
        """The number of `values`, then each as `item` writes it."""
        self.uint(len(values))
        for value in values:
            item(self, value)
        return self

    def uint32_array(self, words: Buffer) -> Writer:
        """`words` are raw little-endian bytes, a multiple of 4."""
        if len(words) % 4:
            raise LocalProtocolError(f"expected a multiple of 4 bytes, got {len(words)}")
        self.uint(len(words) // 4)
        self.data += words
        return self

    def raw(self, value: Buffer) -> Writer:
        """Bytes as they are."""
        self.data += value
        return self
