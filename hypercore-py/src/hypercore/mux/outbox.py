"""Outgoing messages, packed into batches when the shell takes them.

Callers do not cork: messages queued since the last take go out together. Format of a batch (protomux
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
"""Longest plaintext of a secret-stream frame (24-bit length, 17 bytes of tag). Messages are not
fragmented."""

MAX_BATCH_BYTES = 256 * 1024
"""Bytes of entries at which a batch is closed. The official limit is 8 MiB, checked before adding; small
batches let a receiver use the start without waiting for the end of a long message."""

FIRST_BATCH_BYTES = 16 * 1024
"""The same until a channel is open: receivers accept only short messages from unproven peers."""

HIGH_WATER_BYTES = 256 * 1024
"""Queued bytes from which answers wait (`Muxer.writable`)."""

ENTRY_OVERHEAD = 200
"""Bytes of memory for a queued message beside its content, about."""

KEEP_APART_BYTES = 1024
"""Size from which byte strings are referenced, not copied, until a message is joined."""


class PartsWriter(Writer):
    """A writer that does not copy long byte strings: they become parts of their own."""

    __slots__ = ("parts", "size")

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Buffer] = []
        self.size = 0
        """Bytes in `parts`, without those in `data`."""

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
        """All written parts, in order. The writer cannot be used again."""
        if self.data or not self.parts:
            self.size += len(self.data)
            self.parts.append(self.data)
        return self.parts


class _Entry(NamedTuple):
    channel: int
    size: int
    parts: Sequence[Buffer]


class Outbox:
    """A queue of (channel, type and payload). The peer can make it grow only through answers, which wait for
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
        """Messages for the stream, about `limit` bytes in all, at least one if any is queued."""
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
        """One message: the next entry alone, or a batch of it and the entries that fit behind it."""
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
