"""The Noise XX handshake inside the stream, for streams whose keys were not agreed elsewhere.

Source: @hyperswarm/secret-stream lib/handshake.js (6.9.2): pattern XX, empty prologue, empty payloads, each
message one frame. The DHT does not need this: there the keys come out of its own IK handshake.
"""

from __future__ import annotations

from collections.abc import Callable

from .._types import Buffer
from ..crypto import KeyPair
from ..errors import HandshakeError, LocalProtocolError
from ..noise import Handshake, HandshakeResult
from .framing import FrameParser, frame

_REMOTE_MESSAGE_BYTES = {True: (96,), False: (32, 64)}
"""Sizes of the messages that an initiator and a responder wait for."""


class XXHandshake:
    """Drives XX over a byte stream. Once `result` is there, `take_rest` belongs to the `SecretStream`."""

    def __init__(self, *, is_initiator: bool, key_pair: KeyPair, random: Callable[[int], bytes]) -> None:
        self._noise = Handshake("XX", initiator=is_initiator, static=key_pair, random=random)
        self._is_initiator = is_initiator
        self._expected = list(_REMOTE_MESSAGE_BYTES[is_initiator])
        self._parser = FrameParser()

    @property
    def result(self) -> HandshakeResult | None:
        """Keys and names, or None during the handshake."""
        return self._noise.result if self._noise.complete else None

    def start(self) -> bytes:
        """The initiator's first frame; a responder has nothing to say yet."""
        return frame(self._noise.write()) if self._is_initiator else b""

    def respond(self, data: Buffer) -> bytes:
        """Take bytes of the peer. Returns the frames to answer with. Raises HandshakeError."""
        self._parser.feed((data,))
        answer = b""
        while self._expected:
            size = self._parser.peek_length()
            if size is not None and size != self._expected[0]:
                raise HandshakeError(f"a handshake frame of {size} bytes instead of {self._expected[0]}")
            place = self._parser.next_frame()
            if place is None:
                break
            del self._expected[0]
            self._noise.read(self._parser.buffer[place[0] : place[1]])
            if not self._noise.complete:
                answer += frame(self._noise.write())
        return answer

    def take_rest(self) -> bytes:
        """Bytes that came behind the handshake. Raises LocalProtocolError before its end."""
        if not self._noise.complete:
            raise LocalProtocolError("the handshake is not finished")
        return self._parser.take_rest()
