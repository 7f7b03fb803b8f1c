"""The secret stream proper: a header frame each way, then encrypted message frames.

Source: @hyperswarm/secret-stream index.js (6.9.2). Vectors: `transport/secret-stream.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._types import Buffer
from ..connection import MAX_FRAME_BYTES
from ..crypto import blake2b_256, namespace
from ..errors import HandshakeError, LocalProtocolError, RemoteProtocolError
from ..noise import HandshakeResult
from .framing import LENGTH_BYTES, FrameParser, frame
from .sodium import HEADER_BYTES, OVERHEAD_BYTES, Pull, Push, new_pull, new_push

ID_BYTES = 32
HEADER_FRAME_BYTES = ID_BYTES + HEADER_BYTES
"""The body of the first frame: stream id, then the header of libsodium's secretstream."""

MAX_MESSAGE_BYTES = MAX_FRAME_BYTES - OVERHEAD_BYTES
"""Longest plaintext of one message, in bytes."""

KEEP_ALIVE = b""
"""The plaintext of a keep-alive. Receivers drop it."""


def stream_id(handshake_hash: bytes, *, is_initiator: bool) -> bytes:
    """The 32 bytes that bind a header frame to this handshake."""
    return blake2b_256(namespace("hyperswarm/secret-stream", 0 if is_initiator else 1), key=handshake_hash)


class SecretStream:
    """Encryption and framing of one connection. `random(size)` gives the secretstream header."""

    __slots__ = ("_header", "_parser", "_pull", "_push", "authenticated", "error", "result")

    def __init__(self, result: HandshakeResult, random: Callable[[int], bytes]) -> None:
        self.result = result
        self._header = random(HEADER_BYTES)
        self._push: Push = new_push(result.tx, self._header)
        self._pull: Pull | None = None
        self._parser = FrameParser()
        self.error: RemoteProtocolError | None = None
        """The violation of the peer, after which no message can be read."""
        self.authenticated = False
        """Whether an encrypted frame (perhaps a keep-alive) was received: the peer holds the keys. A header
        frame can be made by any observer of the handshake's messages."""

    @property
    def held_bytes(self) -> int:
        """Bytes that were fed and not returned in a message."""
        return self._parser.held_bytes

    @property
    def readable(self) -> bool:
        """Whether `next_message` would return a message or raise."""
        return self._parser.complete

    @property
    def max_frame_bytes(self) -> int:
        """Longest body of a frame that is accepted from the peer."""
        return self._parser.max_bytes

    @max_frame_bytes.setter
    def max_frame_bytes(self, size: int) -> None:
        self._parser.max_bytes = size

    @property
    def header_received(self) -> bool:
        """Whether the other side's header frame has come and belongs to this handshake."""
        return self._pull is not None

    def start(self) -> bytes:
        """Our header frame. Send it once, before any message, without waiting for the other side's."""
        result = self.result
        return frame(stream_id(result.hash, is_initiator=result.is_initiator) + self._header)

    def encrypt(self, message: Buffer) -> bytes:
        """One message as the frame for the wire. Raises LocalProtocolError when it is too long."""
        size = len(message)
        if size > MAX_MESSAGE_BYTES:
            raise LocalProtocolError(f"a message has at most {MAX_MESSAGE_BYTES} bytes, not {size}")
        return self._push.encrypt((size + OVERHEAD_BYTES).to_bytes(LENGTH_BYTES, "little"), message)

    def decrypt(self, data: Buffer) -> list[bytes]:
        """The messages that `data` completes; see `decrypt_chunks`."""
        return self.decrypt_chunks((data,))

    def decrypt_chunks(self, chunks: Sequence[Buffer]) -> list[bytes]:
        """The messages that the next bytes of the stream complete, keep-alives left out.

        Raises HandshakeError for a wrong header frame and RemoteProtocolError for a message that does not
        authenticate. Messages before it are returned first: then `error` is set, and the next call raises it.
        No message is read after that.
        """
        if self.error is not None:
            raise self.error
        messages: list[bytes] = []
        self.feed(chunks)
        try:
            while (message := self.next_message()) is not None:
                if message:
                    messages.append(message)
        except RemoteProtocolError:
            if not messages:
                raise
        return messages

    def feed(self, chunks: Sequence[Buffer]) -> None:
        """Take over the next bytes of the stream, for `next_message`. They are kept, and must not change."""
        self._parser.feed(chunks)

    def next_message(self) -> bytes | None:
        """The next message, empty if it is a keep-alive; None until more bytes are fed.

        Raises as `decrypt_chunks`. No message can be read after that.
        """
        if self.error is not None:
            raise self.error
        try:
            pull = self._pull or self._read_header()
            place = None if pull is None else self._parser.next_frame()
            if pull is None or place is None:
                return None
            message = pull.decrypt(self._parser.buffer, *place)
            self._parser.release()
            self.authenticated = True
            return message
        except RemoteProtocolError as error:
            self.error = error
            raise

    def close(self) -> None:
        """Stop reading and release the input."""
        self._parser.clear()

    def _read_header(self) -> Pull | None:
        """Reads the remote header frame. None until it is complete."""
        size = self._parser.peek_length()
        if size is not None and size != HEADER_FRAME_BYTES:
            raise HandshakeError(f"the stream header has {size} bytes instead of {HEADER_FRAME_BYTES}")
        place = self._parser.next_frame()
        if place is None:
            return None
        body = bytes(self._parser.buffer[place[0] : place[1]])
        result = self.result
        if body[:ID_BYTES] != stream_id(result.hash, is_initiator=not result.is_initiator):
            raise HandshakeError("the stream header belongs to another handshake")
        self._pull = new_pull(result.rx, body[ID_BYTES:])
        return self._pull
