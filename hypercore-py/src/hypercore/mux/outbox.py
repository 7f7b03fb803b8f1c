"""Outgoing messages, packed into as few as sensible when the shell takes them.

Callers do not cork: everything queued since the last take goes out together. Format of a batch (protomux
index.js, `_sendBatch`): `00 00`, `uint` channel, then entries of `uint` length and that many bytes; an entry
of length 0 means that another `uint` channel follows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from .._types import Buffer
from ..codec import Writer, encode_uint
from ..errors import LocalProtocolError

MAX_MESSAGE_BYTES = 0xFFFFFF - 17
"""Longest plaintext of a secret-stream frame (24-bit length, 17 bytes of tag). Nothing is ever fragmented."""

MAX_BATCH_BYTES = 256 * 1024
"""Bytes of entries at which a batch is closed. The official limit is 8 MiB, checked before adding; small
batches keep a receiver from waiting for the end of a long message before it can use the start."""

FIRST_BATCH_BYTES = 16 * 1024
"""The same until a channel is open: receivers do not take long messages from peers that they know nothing
of."""

HIGH_WATER_BYTES = 256 * 1024
"""Bytes queued from which on answers wait (`Muxer.writable`)."""

ENTRY_OVERHEAD = 200
"""Bytes that a queued message takes besides its own, about."""

KEEP_APART_BYTES = 1024
"""Byte strings from this size on are referenced, not copied, until a message is joined."""


class PartsWriter(Writer):
    """A writer that does not copy long byte strings: they become parts of their own."""

    __slots__ = ("parts", "size")

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Buffer] = []
        self.size = 0
        """Bytes in `parts`; those in `data` come on top."""

    def buffer(self, value: Buffer) -> Writer:
        size = len(value)
        self.data += encode_uint(size)
        if size < KEEP_APART_BYTES:
            self.data += value
            return self
        self.parts += (self.data, value)
        self.size += len(self.data) + size
        self.data = bytearray()
        return self

    def finish(self) -> Sequence[Buffer]:
        """All that was written, in order. The writer is used up."""
        if self.data or not self.parts:
            self.size += len(self.data)
            self.parts.append(self.data)
        return self.parts


class _Entry(NamedTuple):
    channel: int
    size: int
    parts: Sequence[Buffer]


class Outbox:
    """A queue of (channel, type and payload). The peer can make it grow only through answers, which mind
    `writable`."""

    __slots__ = ("_entries", "max_batch", "size")

    def __init__(self) -> None:
        self.max_batch = FIRST_BATCH_BYTES
        """Bytes of entries at which a batch is closed. The muxer raises it when the peer has answered."""
        self._entries: deque[_Entry] = deque()
        self.size = 0
        """Bytes queued."""

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, channel: int, size: int, parts: Sequence[Buffer]) -> None:
        """Queue one message. `size` is the sum of the lengths of `parts`, which start with the type."""
        if size > MAX_MESSAGE_BYTES - 9:
            raise LocalProtocolError(f"message of {size} bytes, at most {MAX_MESSAGE_BYTES - 9} can be sent")
        self._entries.append(_Entry(channel, size, parts))
        self.size += size

    def take(self, limit: int) -> list[bytes]:
        """Messages for the stream, about `limit` bytes of them (at least one, if there is any)."""
        out: list[bytes] = []
        while self._entries and limit > 0:
            message = self._pack()
            limit -= len(message)
            out.append(message)
        return out

    def clear(self) -> None:
        self._entries.clear()
        self.size = 0

    def _pack(self) -> bytes:
        """One message: the next entry alone, or a batch of it and all that fit behind it."""
        entries = self._entries
        channel, total, parts = entries.popleft()
        if not entries or total + entries[0].size > self.max_batch:
            self.size -= total
            return b"".join((encode_uint(channel), *parts))
        chunks: list[Buffer] = [b"\0\0", encode_uint(channel), encode_uint(total), *parts]
        while entries and total + entries[0].size <= self.max_batch:
            next_channel, size, parts = entries.popleft()
            if next_channel != channel:
                channel = next_channel
                chunks += (b"\0", encode_uint(channel))
            chunks.append(encode_uint(size))
            chunks += parts
            total += size
        self.size -= total
        return b"".join(chunks)
