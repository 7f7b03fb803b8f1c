"""A `blind-peer` channel, the same for both ends.

Message types (blind-peer-muxer): 0 cores, 1 notification, 2 error, 3 and 4 request and response of cores, 5
and 6 of a notification; unknown ones are ignored. Up to muxer 1.2 there is only type 0, and no answer of any
kind.

Official servers end the connection when they cannot read a message; clients up to 2.5 then dial again without
a pause. Here such a message is counted and ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..codec import Reader, Writer
from ..errors import FrameDecodeError
from ..mux import Channel, CloseReason, Muxer
from .messages import (
    AddedCore,
    Cores,
    ErrorCode,
    Hello,
    Notification,
    read_added,
    read_error,
    write_added,
    write_error,
)

PROTOCOL = "blind-peer"

MAX_OPEN_REQUESTS = 256
"""Requests of a peer that wait for an answer; further ones fail with RATE_LIMITED. Ours."""

CORES, NOTIFICATION, ERROR, CORES_REQUEST, CORES_RESPONSE, PUSH_REQUEST, PUSH_RESPONSE = range(7)


class ChannelOwner(Protocol):
    """Callbacks of a channel to its owner."""

    def cores_received(
        self, channel: BlindPeerChannel, cores: Cores, request: int | None, now: float, /
    ) -> None:
        """The peer names cores. With `request`, call `respond` or `fail` for it, now or later."""

    def notification_received(
        self, channel: BlindPeerChannel, notification: Notification, request: int | None, now: float, /
    ) -> None:
        """The peer asks to notify a room. With `request`, call `acknowledge` or `fail`."""

    def malformed_received(self, channel: BlindPeerChannel, error: FrameDecodeError, now: float, /) -> None:
        """A message could not be read, and is ignored."""

    def channel_ended(self, channel: BlindPeerChannel, reason: CloseReason, now: float, /) -> None:
        """The channel was closed. This is the last call."""


class BlindPeerChannel:
    """`open` it; a server does so when the peer has opened its own.

    Requests that we make end in `on_response(id, answer)`: the cores of the answer, () for a notification, or
    an error code (`ErrorCode`, or an unknown number).
    """

    def __init__(
        self,
        muxer: Muxer,
        owner: ChannelOwner,
        *,
        on_response: Callable[[int, tuple[AddedCore, ...] | int], None] = lambda request, answer: None,
    ) -> None:
        self.muxer = muxer
        self.hello = Hello()
        """What the peer has sent when it opened the channel."""
        self._owner = owner
        self._on_response = on_response
        self._channel: Channel = muxer.create_channel(PROTOCOL, None, self)
        self._open_requests: set[int] = set()
        self._next_request = 0
        self._waiting: dict[int, int] = {}
        """Type of the response to each of our requests."""

    @property
    def opened(self) -> bool:
        """Whether both sides have opened it."""
        return self._channel.opened

    def open(self, now: float, hello: Hello | None = None) -> None:
        """Open our side. None sends no bytes, as ends before muxer 1.5 do."""
        self._channel.open(b"" if hello is None else _bytes_of(hello), now)

    def close(self, now: float) -> None:
        """Close the channel. A second call does nothing."""
        self._channel.close(now)

    # --- sending

    def send_cores(self, cores: Cores) -> None:
        """Name cores; there is no answer."""
        self._channel.send(CORES, _bytes_of(cores))

    def send_notification(self, notification: Notification) -> None:
        """Ask to notify a room; there is no answer."""
        self._channel.send(NOTIFICATION, _bytes_of(notification))

    def request_cores(self, cores: Cores) -> int:
        """Name cores, and ask for an answer. Returns the id of the request."""
        return self._request(CORES_REQUEST, _bytes_of(cores))

    def request_notification(self, notification: Notification) -> int:
        """Ask to notify a room, and for an answer. Returns the id of the request."""
        return self._request(PUSH_REQUEST, _bytes_of(notification))

    def respond(self, request: int, cores: Sequence[AddedCore]) -> None:
        """Answer a request of cores."""
        w = Writer()
        write_added(w, cores)
        self._answer(CORES_RESPONSE, request, bytes(w))

    def acknowledge(self, request: int) -> None:
        """Answer a request of a notification."""
        self._answer(PUSH_RESPONSE, request, b"")

    def fail(self, request: int, code: ErrorCode) -> None:
        """Answer a request with an error."""
        w = Writer()
        write_error(w, code)
        self._answer(ERROR, request, bytes(w))

    def _request(self, type_id: int, value: bytes) -> int:
        request, self._next_request = self._next_request, self._next_request + 1
        self._waiting[request] = type_id + 1
        self._channel.send(type_id, bytes(Writer().uint(request).buffer(value)))
        return request

    def _answer(self, type_id: int, request: int, value: bytes) -> None:
        self._open_requests.discard(request)
        self._channel.send(type_id, bytes(Writer().uint(request).buffer(value)))

    # --- for the muxer

    def channel_opened(self, handshake: Reader, now: float) -> None:
        try:
            self.hello = Hello.decode(handshake)
        except FrameDecodeError as error:
            self._owner.malformed_received(self, error, now)

    def channel_message(self, type_id: int, message: Reader, now: float) -> None:
        try:
            self._receive(type_id, message, now)
        except FrameDecodeError as error:
            self._owner.malformed_received(self, error, now)

    def channel_closed(self, reason: CloseReason, now: float) -> None:
        self._waiting.clear()
        self._open_requests.clear()
        self._owner.channel_ended(self, reason, now)

    def channel_flush(self, now: float) -> None:
        pass

    def channel_writable(self, now: float) -> None:
        pass

    # --- receiving

    def _receive(self, type_id: int, message: Reader, now: float) -> None:
        if type_id == CORES:
            self._owner.cores_received(self, Cores.decode(message), None, now)
        elif type_id == NOTIFICATION:
            self._owner.notification_received(self, Notification.decode(message), None, now)
        elif type_id in (CORES_REQUEST, PUSH_REQUEST):
            self._receive_request(type_id, message.uint(), message, now)
        elif type_id in (ERROR, CORES_RESPONSE, PUSH_RESPONSE):
            self._receive_answer(type_id, message.uint(), Reader(message.buffer()))

    def _receive_request(self, type_id: int, request: int, message: Reader, now: float) -> None:
        if len(self._open_requests) >= MAX_OPEN_REQUESTS:
            self._channel.send(
                ERROR, bytes(Writer().uint(request).buffer(bytes((0, ErrorCode.RATE_LIMITED))))
            )
            return
        self._open_requests.add(request)
        try:
            value = Reader(message.buffer())
            if type_id == CORES_REQUEST:
                self._owner.cores_received(self, Cores.decode(value), request, now)
            else:
                self._owner.notification_received(self, Notification.decode(value), request, now)
        except FrameDecodeError:
            self.fail(request, ErrorCode.DECODE_ERROR)
            raise

    def _receive_answer(self, type_id: int, request: int, value: Reader) -> None:
        expected = self._waiting.get(request)
        if type_id == ERROR and expected is not None:
            answer: tuple[AddedCore, ...] | int = read_error(value)
        elif type_id == expected:
            answer = read_added(value) if type_id == CORES_RESPONSE else ()
        else:
            return  # to no request of ours
        del self._waiting[request]
        self._on_response(request, answer)


class _Message(Protocol):
    def encode(self, w: Writer, /) -> None: ...


def _bytes_of(message: _Message) -> bytes:
    w = Writer()
    message.encode(w)
    return bytes(w)
