"""Frames: `length u24 LE`, then that many bytes. They may span packets in any way.

Source: @hyperswarm/secret-stream lib/bridge.js and index.js (6.9.2).
"""

from __future__ import annotations

from collections.abc import Iterable

from .._types import Buffer
from ..errors import LocalProtocolError, RemoteProtocolError

LENGTH_BYTES = 3

MAX_FRAME_BYTES = 2**24 - 1
"""Longest body of a frame, in bytes: what the length field can say. Also the most one peer can make us hold
while a frame is incomplete, beside the chunks of one `feed`."""

MAX_FIRST_FRAME_BYTES = 32 * 1024
"""The same for a peer that has not said anything yet: only what it encrypts shows who it is. Ours."""

MAX_EARLY_FRAME_BYTES = 256 * 1024
"""The same for a peer that has not opened any channel yet: what it opens, in batches. Ours."""


def frame(body: Buffer) -> bytes:
    """`body` with its length in front. Raises LocalProtocolError when it is too long."""
    if len(body) > MAX_FRAME_BYTES:
        raise LocalProtocolError(f"a frame has at most {MAX_FRAME_BYTES} bytes, not {len(body)}")
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


class FrameParser:
    """Cuts a byte stream into frames.

    Bodies are not copied out: `next_frame` gives their place in `buffer`, which holds until the next `feed`.
    """

    __slots__ = ("_at", "buffer", "max_bytes")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.max_bytes = MAX_FRAME_BYTES
        """Longest body that is accepted now."""
        self._at = 0

    @property
    def held_bytes(self) -> int:
        """Bytes that were not given out as a frame."""
        return len(self.buffer) - self._at

    def feed(self, chunks: Iterable[Buffer]) -> None:
        """Takes over the bytes of `chunks`. Places given out before are void."""
        at, self._at = self._at, 0
        fresh = bytearray().join(chunks)  # at once: a buffer that grows by chunks is copied several times
        if at == len(self.buffer):
            self.buffer = fresh
            return
        if at:
            del self.buffer[:at]
        self.buffer += fresh

    def peek_length(self) -> int | None:
        """The length of the next frame's body, as soon as its three bytes are here."""
        at = self._at
        if len(self.buffer) - at < LENGTH_BYTES:
            return None
        return int.from_bytes(self.buffer[at : at + LENGTH_BYTES], "little")

    def next_frame(self) -> tuple[int, int] | None:
        """Start and end of the next whole body in `buffer`, or None until more bytes are fed.

        Raises RemoteProtocolError for one that is longer than `max_bytes`, as soon as its length is known.
        """
        size = self.peek_length()
        if size is None:
            return None
        if size > self.max_bytes:
            raise RemoteProtocolError(f"a frame of {size} bytes, where at most {self.max_bytes} are accepted")
        start = self._at + LENGTH_BYTES
        if len(self.buffer) - start < size:
            return None
        self._at = start + size
        return start, start + size

    @property
    def complete(self) -> bool:
        """Whether `next_frame` has something to give, or to object to."""
        size = self.peek_length()
        return size is not None and (self.held_bytes >= LENGTH_BYTES + size or size > self.max_bytes)

    def take_rest(self) -> bytes:
        """Removes and returns everything that was not given out as a frame."""
        rest = bytes(self.buffer[self._at :])
        self.buffer = bytearray()
        self._at = 0
        return rest
