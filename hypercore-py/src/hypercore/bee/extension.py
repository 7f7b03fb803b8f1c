"""The `hyperbee` extension message: hints by which a reader gets the blocks of a look-up sent side by side.

Format: hyperbee lib/messages.js, `Extension` (2.27.3), Protocol Buffers. A reader sends `get` or
`iterator`, whoever has the blocks answers with `cache`. All three are hints; a peer that knows nothing of
them loses nothing but time.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InvalidContent
from .protobuf import (
    as_bytes,
    as_int,
    extend_packed,
    read_fields,
    write_bytes,
    write_int,
    write_packed,
)

NAME = "hyperbee"
"""Under which the extension is registered on the core."""

MAX_CACHE_BLOCKS = 4096
"""Block numbers accepted in one `cache` (hyperbee lib/extension.js sends 128 at a time)."""

MAX_CHECKPOINT = 3 * 64
"""Numbers accepted in the checkpoint of an `iterator`: three for each level of the tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """Blocks (all from `start` to before `end`) that the reader is going to need."""

    start: int
    end: int
    blocks: tuple[int, ...] = ()

    def encode(self) -> bytes:
        out = bytearray()
        write_int(out, 1, self.start)
        write_int(out, 2, self.end)
        write_packed(out, 3, list(self.blocks))
        return _message(1, out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """The reader looks for `key` in `version`."""

    version: int
    key: bytes

    def encode(self) -> bytes:
        out = bytearray()
        write_int(out, 1, self.version)
        write_bytes(out, 2, self.key)
        return _message(2, out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Iterator:
    """The reader walks a range of `version`. `limit` 0 is none. `checkpoint` is (seq, offset, slot) for
    each level."""

    version: int
    gte: bytes | None = None
    gt: bytes | None = None
    lte: bytes | None = None
    lt: bytes | None = None
    limit: int = 0
    reverse: bool = False
    checkpoint: tuple[int, ...] = ()

    def encode(self) -> bytes:
        out = bytearray()
        write_int(out, 1, self.version)
        for number, bound in enumerate((self.gte, self.gt, self.lte, self.lt), 2):
            if bound is not None:
                write_bytes(out, number, bound)
        write_int(out, 6, self.limit)
        write_int(out, 7, int(self.reverse))
        write_packed(out, 8, list(self.checkpoint))
        return _message(3, out)


def decode_extension(data: bytes) -> Cache | Get | Iterator | None:
    """The hint in a message, None if it is of a kind we do not know. Raises InvalidContent."""
    for number, value in read_fields(data):
        if number == 1:
            return _decode_cache(as_bytes(value))
        if number == 2:
            return _decode_get(as_bytes(value))
        if number == 3:
            return _decode_iterator(as_bytes(value))
    return None


def _decode_cache(data: bytes) -> Cache:
    start = end = None
    blocks: list[int] = []
    for number, value in read_fields(data):
        if number == 1:
            start = as_int(value)
        elif number == 2:
            end = as_int(value)
        elif number == 3:
            extend_packed(blocks, value, MAX_CACHE_BLOCKS)
    if start is None or end is None:
        raise InvalidContent("bee extension: a cache hint without start or end")
    return Cache(start=start, end=end, blocks=tuple(blocks))


def _decode_get(data: bytes) -> Get:
    version, key = 0, b""
    for number, value in read_fields(data):
        if number == 1:
            version = as_int(value)
        elif number == 2:
            key = as_bytes(value)
    return Get(version=version, key=key)


def _decode_iterator(data: bytes) -> Iterator:
    counts = {1: 0, 6: 0, 7: 0}
    bounds: dict[int, bytes] = {}
    checkpoint: list[int] = []
    for number, value in read_fields(data):
        if number in counts:
            counts[number] = as_int(value)
        elif 2 <= number <= 5:
            bounds[number] = as_bytes(value)
        elif number == 8:
            extend_packed(checkpoint, value, MAX_CHECKPOINT)
    return Iterator(
        version=counts[1],
        gte=bounds.get(2),
        gt=bounds.get(3),
        lte=bounds.get(4),
        lt=bounds.get(5),
        limit=counts[6],
        reverse=bool(counts[7]),
        checkpoint=tuple(checkpoint),
    )


def _message(number: int, body: bytearray) -> bytes:
    out = bytearray()
    write_bytes(out, number, body)
    return bytes(out)
