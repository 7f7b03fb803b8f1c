"""Frames: `length u24 LE`, then that many bytes. They may span packets in any way.

Source: @hyperswarm/secret-stream lib/bridge.js and index.js (6.9.2).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .._types import Buffer
from ..connection import MAX_EARLY_FRAME_BYTES, MAX_FRAME_BYTES
from ..errors import LocalProtocolError, RemoteProtocolError

LENGTH_BYTES = 3

MAX_FIRST_FRAME_BYTES = 256 * 1024
"""Longest body of a frame in bytes from a peer that has sent no encrypted message yet: only that
authenticates it. An official peer opens the channels of all its cores in it, some 100 bytes each. Ours."""

JOIN_BYTES = 64 * 1024
"""Bytes joined at a time, if available, so that many short frames cost few copies."""

MIN_PIECE_BYTES = 512
"""Average size below which chunks are joined at once: each has an overhead of up to 100 bytes."""

MAX_SPARE_BYTES = 2**20
"""Memory of returned frames that a parser keeps for the next ones. Ours."""


def frame(body: Buffer) -> bytes:
    """`body` with its length in front. Raises LocalProtocolError when it is too long."""
    if len(body) > MAX_FRAME_BYTES:
        raise LocalProtocolError(f"a frame has at most {MAX_FRAME_BYTES} bytes, not {len(body)}")
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


class FrameParser:
    """Cuts a byte stream into frames.

    Fed bytes are joined until a frame is complete; while it waits, and while long frames are not accepted,
    they stay in pieces, so that they are not copied again with each `feed`. Bodies are not copied out:
    `next_frame` returns their place in `buffer`, valid until the next call of it or of `feed`.
    """

    __slots__ = ("_at", "_pieces", "_short", "buffer", "held_bytes", "max_bytes")

    def __init__(self) -> None:
        self.buffer = bytearray()
        """The joined start of the held bytes, after `_at`."""
        self.max_bytes = MAX_FRAME_BYTES
        """Longest body that is accepted now."""
        self.held_bytes = 0
        """Bytes that were not returned as a frame."""
        self._at = 0
        self._pieces: deque[Buffer] = deque()
        """Bytes after `buffer`."""
        self._short: bytearray | None = None
        """The last piece, if it is joined from short chunks and accepts more."""

    def feed(self, chunks: Sequence[Buffer]) -> None:
        """Take over `chunks`, which must not change any more. Earlier results of `next_frame` become
        invalid."""
        size = sum(map(len, chunks))
        self.held_bytes += size
        short_chunks = size < MIN_PIECE_BYTES * len(chunks)
        if self.max_bytes > MAX_EARLY_FRAME_BYTES and not self._pieces and not self._has_frame():
            # Copied while they are in the processor's cache, into memory that was used before. Not for peers
            # that have shown no key: buffers that grow cost up to twice their bytes, pieces what they hold
            buffer = self.buffer
            if self._at:
                del buffer[: self._at]
                self._at = 0
            for chunk in (b"".join(chunks),) if short_chunks else chunks:
                buffer += chunk
            return
        if not short_chunks:
            self._pieces += chunks
            self._short = None
            return
        short = self._short
        if short is None or len(short) >= JOIN_BYTES:
            self._short = short = bytearray()
            self._pieces.append(short)
        short += b"".join(chunks)

    def _has_frame(self) -> bool:
        """Whether `buffer` has a whole frame that was not returned."""
        buffer, at = self.buffer, self._at
        start = at + LENGTH_BYTES
        return len(buffer) >= start + int.from_bytes(buffer[at:start], "little") and len(buffer) >= start

    def peek_length(self) -> int | None:
        """The length of the next frame's body; None before its three bytes have come."""
        if self.held_bytes < LENGTH_BYTES:
            return None
        if len(self.buffer) - self._at < LENGTH_BYTES:
            self._join(LENGTH_BYTES)
        at = self._at
        return int.from_bytes(self.buffer[at : at + LENGTH_BYTES], "little")

    def next_frame(self) -> tuple[int, int] | None:
        """Start and end of the next whole body in `buffer`, or None until more bytes are fed.

        Raises RemoteProtocolError for a body longer than `max_bytes`, as soon as its length is known.
        """
        size = self.peek_length()
        if size is None:
            return None
        if size > self.max_bytes:
            raise RemoteProtocolError(f"a frame of {size} bytes, where at most {self.max_bytes} are accepted")
        size += LENGTH_BYTES
        if self.held_bytes < size:
            return None
        if len(self.buffer) - self._at < size:
            self._join(size)
        start = self._at
        self._at = start + size
        self.held_bytes -= size
        return start + LENGTH_BYTES, start + size

    def release(self) -> None:
        """Free the memory of long frames, when all that is joined was returned and is not used any more."""
        if len(self.buffer) > MAX_SPARE_BYTES and self._at == len(self.buffer):
            self.buffer = bytearray()
            self._at = 0

    @property
    def complete(self) -> bool:
        """Whether `next_frame` would return a frame or raise."""
        size = self.peek_length()
        return size is not None and (self.held_bytes >= LENGTH_BYTES + size or size > self.max_bytes)

    def take_rest(self) -> bytes:
        """Remove and return all bytes that were not returned as a frame."""
        self._join(self.held_bytes)
        rest = bytes(self.buffer)
        self.clear()
        return rest

    def clear(self) -> None:
        """Drop all bytes."""
        self.buffer = bytearray()
        self._pieces.clear()
        self._short = None
        self._at = self.held_bytes = 0

    def _join(self, size: int) -> None:
        """Join the next `size` bytes into `buffer`, which must have come; JOIN_BYTES if available."""
        pieces = self._pieces
        parts: list[Buffer] = [self.buffer[self._at :]]
        joined, size = len(parts[0]), max(size, JOIN_BYTES)
        while joined < size and pieces:
            parts.append(pieces.popleft())
            joined += len(parts[-1])
        if not pieces:
            self._short = None
        self.buffer = bytearray().join(parts)
        self._at = 0
