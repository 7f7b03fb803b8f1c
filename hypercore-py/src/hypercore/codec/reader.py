"""Reading compact encodings. Everything that goes wrong in here is the peer's doing: `FrameDecodeError`."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TypeVar

from .._types import Buffer
from ..errors import FrameDecodeError

T = TypeVar("T")

_U32 = Struct("<I").unpack_from
_U64 = Struct("<Q").unpack_from

MAX_SAFE_INTEGER = 2**53 - 1
"""Largest integer that the official implementation can hold; larger ones are refused."""

MAX_ARRAY_LENGTH = 0x100000
"""Longest `array` that a decoder accepts (compact-encoding index.js, `array`)."""


class Reader:
    """A cursor over one message. Trailing bytes are legal: that is how the format grows.

    Each method reads what the `Writer` method of its name writes, and raises FrameDecodeError if the message
    ends before that or holds something else. What is read is copied out of the message.
    """

    __slots__ = ("data", "end", "pos")

    def __init__(self, data: Buffer, pos: int = 0, end: int | None = None) -> None:
        self.data = data
        self.pos = pos
        self.end = len(data) if end is None else end

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return self.end - self.pos

    def _take(self, size: int) -> int:
        """Move over `size` bytes; returns where they start."""
        start = self.pos
        if size > self.end - start:
            raise FrameDecodeError(f"message ends after {self.end - start} of {size} expected bytes")
        self.pos = start + size
        return start

    def uint(self) -> int:
        """An integer of 1, 3, 5 or 9 bytes, MAX_SAFE_INTEGER at most."""
        start = self.pos
        if start >= self.end:
            raise FrameDecodeError("message ends where an integer was expected")
        data = self.data
        first = data[start]
        self.pos = start + 1
        if first <= 0xFC:
            return first
        if first == 0xFD:
            at = self._take(2)
            return data[at] | data[at + 1] << 8
        return self.uint32() if first == 0xFE else self.uint64()

    def uint8(self) -> int:
        """An unsigned integer of 1 byte."""
        return self.data[self._take(1)]

    def uint16(self) -> int:
        """An unsigned integer of 2 bytes, little-endian."""
        return int.from_bytes(self.data[(at := self._take(2)) : at + 2], "little")

    def uint24(self) -> int:
        """An unsigned integer of 3 bytes, little-endian."""
        return int.from_bytes(self.data[(at := self._take(3)) : at + 3], "little")

    def uint32(self) -> int:
        """An unsigned integer of 4 bytes, little-endian."""
        value: int = _U32(self.data, self._take(4))[0]
        return value

    def uint64(self) -> int:
        """An unsigned integer of 8 bytes, little-endian."""
        value: int = _U64(self.data, self._take(8))[0]
        if value > MAX_SAFE_INTEGER:
            raise FrameDecodeError(f"integer {value} is above 2^53-1")
        return value

    def int_(self) -> int:
        """Zigzag: 0, -1, 1, -2 are sent as 0, 1, 2, 3."""
        value = self.uint()
        return (value >> 1) ^ -(value & 1)

    def bool_(self) -> bool:
        """A boolean of 1 byte."""
        return self.uint8() == 1

    def fixed(self, size: int) -> bytes:
        """Exactly `size` raw bytes."""
        start = self._take(size)
        data = self.data[start : start + size]
        return data if type(data) is bytes else bytes(data)

    def fixed32(self) -> bytes:
        """32 bytes."""
        return self.fixed(32)

    def fixed64(self) -> bytes:
        """64 bytes."""
        return self.fixed(64)

    def buffer(self) -> bytes:
        """`uint` length, then that many bytes."""
        return self.fixed(self.uint())

    def optional_buffer(self) -> bytes | None:
        """Like `buffer`, but length 0 means that there is none."""
        size = self.uint()
        return self.fixed(size) if size else None

    def string(self) -> str:
        """A `buffer` of UTF-8."""
        try:
            return self.buffer().decode("utf-8")
        except UnicodeDecodeError as error:
            raise FrameDecodeError(f"text is not UTF-8: {error.reason}") from None

    def array(self, item: Callable[[Reader], T], *, limit: int = MAX_ARRAY_LENGTH) -> list[T]:
        """`uint` count, then the items. A count above `limit` is refused before anything is read."""
        count = self.uint()
        if count > limit:
            raise FrameDecodeError(f"array of {count} items, at most {limit} are accepted")
        if count > self.remaining:  # every item of every format takes at least a byte
            raise FrameDecodeError(f"array of {count} items in {self.remaining} bytes")
        return [item(self) for _ in range(count)]

    def uint32_array(self) -> bytes:
        """`uint` element count, then 4 bytes each. Returned as raw little-endian bytes."""
        return self.fixed(4 * self.uint())

    def rest(self) -> bytes:
        """All that is left."""
        return self.fixed(self.remaining)
