"""A `protomux-rpc` channel, the same for both ends.

Format: protomux-rpc 1.10.0. Message 0 is a request: `uint id · string method · value`; id 0 is an event,
which is never answered. Message 1 is a response: a byte of flags (1 error, 2 code, 4 cause, 8 context), `uint
id`, then the value or the error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..codec import Reader, Writer
from ..errors import FrameDecodeError
from ..mux import Channel, CloseReason, Muxer

PROTOCOL = "protomux-rpc"

MAX_METHOD_BYTES = 256
"""Bytes of the name of a method; a request with a longer one is ignored. Ours."""

MAX_VALUE_BYTES = 65536
"""Bytes of the value of a request; a request with more is ignored. Ours."""

MAX_UNANSWERED = 4096
"""Requests of a peer that wait for an answer; further ones are ignored: clients repeat an error at once. A
client before 2.0 sends one request for each of its cores. Ours."""

OUT_OF_BOUNDS = "Out of bounds"
"""Cause of a value that ends early (compact-encoding)."""


class RpcFailure(NamedTuple):
    """An error as an answer. `cause` is what the method reports."""

    message: str
    code: str = ""
    cause: str | None = None
    cause_code: str = ""
    context: str = ""


class RpcReply:
    """The answer to one request, given once, now or later."""

    __slots__ = ("_channel", "_id")

    def __init__(self, channel: RpcChannel, request: int) -> None:
        self._channel = channel
        self._id = request

    def answer(self, value: bytes) -> None:
        """Return a value."""
        self._channel.answer(self._id, value)

    def fail(self, cause: str, code: str = "", context: str = "") -> None:
        """Report that the method has failed, as an exception of an official method does."""
        self._channel.answer(self._id, RpcFailure("Request failed", "REQUEST_ERROR", cause, code, context))


Method = Callable[[Reader, RpcReply, float], None]
"""Called with the value, the reply and the time. May raise FrameDecodeError for the value."""


class RpcChannel:
    """`open` it; a server does so when the peer has opened its own."""

    def __init__(
        self,
        muxer: Muxer,
        channel_id: bytes,
        methods: Mapping[str, Method] | None = None,
        *,
        on_response: Callable[[int, bytes | RpcFailure], None] = lambda request, answer: None,
        on_close: Callable[[RpcChannel], None] = lambda channel: None,
    ) -> None:
        """`on_response` is called with the id of a request of ours and its answer."""
        self._methods = methods or {}
        self._on_response = on_response
        self._on_close = on_close
        self._next_id = 1
        self._waiting: set[int] = set()
        self._unanswered: set[int] = set()
        self._channel: Channel = muxer.create_channel(PROTOCOL, channel_id, self)

    @property
    def opened(self) -> bool:
        """Whether both sides have opened it."""
        return self._channel.opened

    def open(self, now: float) -> None:
        """Open our side."""
        self._channel.open(b"", now)

    def close(self, now: float) -> None:
        """Close the channel: the peer's pending requests fail."""
        self._channel.close(now)

    def request(self, method: str, value: bytes = b"") -> int:
        """Call a method of the peer. Returns the id of the request."""
        request, self._next_id = self._next_id, self._next_id + 1
        self._waiting.add(request)
        self._send_request(request, method, value)
        return request

    def send_event(self, method: str, value: bytes = b"") -> None:
        """Call a method that does not answer."""
        self._send_request(0, method, value)

    def _send_request(self, request: int, method: str, value: bytes) -> None:
        self._channel.send(0, bytes(Writer().uint(request).string(method).raw(value)))

    def answer(self, request: int, answer: bytes | RpcFailure) -> None:
        """For `RpcReply`: answer a request. Ignored for events, and if it was answered."""
        if request not in self._unanswered:
            return
        self._unanswered.discard(request)
        w = Writer()
        write_response(w, request, answer)
        self._channel.send(1, bytes(w))

    # --- for the muxer

    def channel_opened(self, handshake: Reader, now: float) -> None:
        pass

    def channel_message(self, type_id: int, message: Reader, now: float) -> None:
        try:
            if type_id == 0:
                self._receive_request(message, now)
            elif type_id == 1:
                request, answer = read_response(message)
                if request in self._waiting:
                    self._waiting.discard(request)
                    self._on_response(request, answer)
        except FrameDecodeError:
            pass  # without its id there is no answer

    def channel_closed(self, reason: CloseReason, now: float) -> None:
        self._unanswered.clear()
        waiting, self._waiting = self._waiting, set()
        for request in sorted(waiting):
            self._on_response(request, RpcFailure("The channel was closed", "CHANNEL_CLOSED"))
        self._on_close(self)

    def channel_flush(self, now: float) -> None:
        pass

    def channel_writable(self, now: float) -> None:
        pass

    def _receive_request(self, message: Reader, now: float) -> None:
        request, name = message.uint(), message.buffer()
        if len(name) > MAX_METHOD_BYTES or message.remaining > MAX_VALUE_BYTES:
            return
        if request:
            if len(self._unanswered) >= MAX_UNANSWERED:
                return
            self._unanswered.add(request)
        method = self._methods.get(name.decode("utf-8", "replace"))
        if method is None:
            text = f"Unknown method '{name.decode('utf-8', 'replace')}'"
            self.answer(request, RpcFailure(text, "UNKNOWN_METHOD"))
            return
        try:
            method(message, RpcReply(self, request), now)
        except FrameDecodeError:
            self.answer(request, RpcFailure("Could not decode request", "DECODE_ERROR", OUT_OF_BOUNDS))


def write_response(w: Writer, request: int, answer: bytes | RpcFailure) -> None:
    """The message that answers a request."""
    if isinstance(answer, bytes):
        w.uint8(0).uint(request).raw(answer)
        return
    cause = answer.cause is not None
    w.uint8(1 | bool(answer.code) << 1 | cause << 2 | bool(answer.context) << 3).uint(request)
    w.string(answer.message)
    if answer.code:
        w.string(answer.code)
    if answer.cause is not None:
        w.string(answer.cause).string(answer.cause_code)
    if answer.context:
        w.string(answer.context)


def read_response(r: Reader) -> tuple[int, bytes | RpcFailure]:
    """Id and answer. Raises FrameDecodeError."""
    flags, request = r.uint8(), r.uint()
    if not flags & 1:
        return request, r.rest()
    message = r.string()
    code = r.string() if flags & 2 else ""
    cause, cause_code = (r.string(), r.string()) if flags & 4 else (None, "")
    return request, RpcFailure(message, code, cause, cause_code, r.string() if flags & 8 else "")
