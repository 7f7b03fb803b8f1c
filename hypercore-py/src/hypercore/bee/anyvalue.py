"""`any`: values with their own type, used for the metadata of seed lists.

Format: compact-encoding index.js (3.5.2), `any`. `uint` type, then the value: 0 null, 1 bool, 2 string, 3
buffer, 4 uint, 5 int, 6 float64, 7 array, 8 object (`uint` count, then string key and any value), 9 date
(`int` milliseconds).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from struct import pack, unpack
from typing import Any

from ..codec import MAX_SAFE_INTEGER, Reader, Writer
from ..errors import FrameDecodeError, LocalProtocolError

MAX_DEPTH = 32
"""Arrays and objects inside each other (our own choice; the official decoder recurses until it crashes)."""

MAX_ITEMS = 1 << 16
"""Values inside one value, over all levels (our own choice; a null takes one byte, but more in memory)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def decode_any(r: Reader) -> Any:
    """None, bool, str, bytes, int, float, list, dict or datetime (UTC). Raises FrameDecodeError."""
    return _AnyReader(r).read(0)


def encode_any(w: Writer, value: Any) -> None:
    """Write a value of these types. Raises LocalProtocolError for others."""
    if isinstance(value, list):
        w.uint(7).array(value, encode_any)
    elif isinstance(value, dict):
        w.uint(8).array(list(value.items()), _write_member)
    elif isinstance(value, datetime):
        w.uint(9).int_((value - _EPOCH) // _MILLISECOND)
    elif isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > MAX_SAFE_INTEGER:
            w.uint(6).raw(pack("<d", value))
        else:
            w.uint(4 if value >= 0 else 5)
            (w.uint if value >= 0 else w.int_)(value)
    else:
        _write_scalar(w, value)


def _write_scalar(w: Writer, value: Any) -> None:
    if value is None:
        w.uint(0)
    elif isinstance(value, bool):
        w.uint(1).bool_(value)
    elif isinstance(value, str):
        w.uint(2).string(value)
    elif isinstance(value, bytes):
        w.uint(3).buffer(value)
    elif isinstance(value, float):
        w.uint(6).raw(pack("<d", value))
    else:
        raise LocalProtocolError(f"a {type(value).__name__} cannot be written")


def _write_member(w: Writer, member: tuple[str, Any]) -> None:
    w.string(member[0])
    encode_any(w, member[1])


class _AnyReader:
    """Reads one value and counts the values inside."""

    def __init__(self, r: Reader) -> None:
        self._r = r
        self._items = 0
        self._scalars: tuple[Callable[[], Any], ...] = (
            lambda: None,
            r.bool_,
            r.string,
            r.buffer,
            r.uint,
            r.int_,
            self._float,
        )

    def read(self, depth: int) -> Any:
        self._items += 1
        if self._items > MAX_ITEMS:
            raise FrameDecodeError(f"a value of more than {MAX_ITEMS} parts")
        if depth > MAX_DEPTH:
            raise FrameDecodeError(f"a value of more than {MAX_DEPTH} levels")
        type_id = self._r.uint()
        if type_id < len(self._scalars):
            return self._scalars[type_id]()
        if type_id == 7:
            return [self.read(depth + 1) for _ in range(self._r.uint())]
        if type_id == 8:
            return {self._r.string(): self.read(depth + 1) for _ in range(self._r.uint())}
        if type_id == 9:
            return self._date()
        raise FrameDecodeError(f"a value of unknown type {type_id}")

    def _float(self) -> float:
        value: float = unpack("<d", self._r.fixed(8))[0]
        return value

    def _date(self) -> datetime:
        milliseconds = self._r.int_()
        try:
            return _EPOCH + timedelta(milliseconds=milliseconds)
        except OverflowError:
            raise FrameDecodeError(f"a date {milliseconds} ms from 1970") from None
