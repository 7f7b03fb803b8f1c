"""A connection to a peer: a secret stream on a UDX stream, with keep-alive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Literal

from ..._types import Buffer
from ...connection import MAX_FRAME_BYTES, Connection
from ...errors import ConnectionClosed, RemoteProtocolError
from ...noise import HandshakeResult
from ...secretstream import MAX_FIRST_FRAME_BYTES, SecretStream
from .udx_transport import StreamHandler, StreamTransport

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle

__all__ = ["CLOSE_TIMEOUT", "KEEP_ALIVE", "Connection", "SecretConnection", "Way"]

KEEP_ALIVE = 5.0
"""Seconds without a write after which an empty message is sent (hyperdht index.js:21)."""

CLOSE_TIMEOUT = 15.0
"""Seconds that a peer gets to end its side after we have ended ours."""

Way = Literal["direct", "punched", "relayed"]
"""How packets reach the peer: without help, through a hole punched in a NAT, or through a blind relay."""


class SecretConnection:
    """`Connection` over UDX.

    `stream` may be connected before or after. `result` has the keys from the handshake through the DHT,
    `early` the bytes already read from the stream. `on_header` is called once, when the peer's header frame
    has come. The connection owns the stream from now on.
    """

    def __init__(
        self,
        stream: StreamTransport,
        result: HandshakeResult,
        *,
        loop: AbstractEventLoop,
        keep_alive: float = KEEP_ALIVE,
        random: Callable[[int], bytes] = os.urandom,
        early: bytes = b"",
        on_header: Callable[[], None] | None = None,
    ) -> None:
        self.stream = stream
        self.result = result
        self.opened_at = monotonic()
        self.bytes_out = 0
        self.messages_in = 0
        self.messages_out = 0
        self.punched = False
        """Whether a hole was punched for it."""
        self.is_relay: Callable[[tuple[str, int]], bool] | None = None
        """Whether an address is the blind relay's. None: it has none."""
        self.on_drain: Callable[[], None] | None = None
        self.on_work: Callable[[float], None] | None = None
        self._loop = loop
        self._secret = SecretStream(result, random)
        self._bytes_in = 0
        self._on_message: Callable[[bytes], None] | None = None
        self._on_readable: Callable[[], None] | None = None
        self._on_close: Callable[[Exception | None], None] | None = None
        self._on_header = on_header
        self._on_authenticated: Callable[[], None] | None = None
        self._first: bytes | None = None  # the message by which the peer authenticated
        self._is_paused = False
        self._peer_ended = False
        self._ended = False
        self._closed = False
        self._error: Exception | None = None
        self._keep_alive = keep_alive
        self._written_at = self.opened_at
        stream.handler = StreamHandler(
            on_data=self._on_data,
            on_end=self._on_end,
            on_drain=self._on_drain,
            on_work=self._on_work,
            on_close=self._on_stream_close,
        )
        self._timer: TimerHandle | None = None
        if stream.closed:
            self._on_stream_close(ConnectionClosed("the stream is closed"))
            return
        if on_header is None:
            stream.pause_reading()  # until the owner sets `on_message`
        self._write(self._secret.start())
        self._timer = loop.call_later(keep_alive, self._on_timer)
        if early:
            self._on_data([early])

    def __repr__(self) -> str:
        host, port = self.remote_address or ("?", 0)
        state = "closed" if self._closed else "open"
        return f"<SecretConnection {state} to {self.remote_public_key.hex()[:8]} at {host}:{port}>"

    # --- facts --------------------------------------------------------------------------------------------

    @property
    def public_key(self) -> bytes:
        return self.result.public_key

    @property
    def remote_public_key(self) -> bytes:
        return self.result.remote_public_key

    @property
    def handshake_hash(self) -> bytes:
        return self.result.hash

    @property
    def is_initiator(self) -> bool:
        return self.result.is_initiator

    @property
    def remote_address(self) -> tuple[str, int] | None:
        return self.stream.remote_address

    @property
    def bytes_in(self) -> int:
        return self.stream.core.bytes_in

    @property
    def way(self) -> Way:
        """How its packets reach the peer now: a relayed connection may move to a hole."""
        address = self.remote_address
        if address is not None and self.is_relay is not None and self.is_relay(address):
            return "relayed"
        return "punched" if self.punched else "direct"

    @property
    def rtt(self) -> float | None:
        return self.stream.rtt or None

    @property
    def writable(self) -> bool:
        return not self._ended and self.stream.writable

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def header_received(self) -> bool:
        """Whether the peer's stream header has come."""
        return self._secret.header_received

    @property
    def authenticated(self) -> bool:
        """Whether the peer has sent an encrypted message. Before, it may be any observer of the handshake."""
        return self._secret.authenticated

    @property
    def error(self) -> Exception | None:
        """The error that ended the connection, None without one."""
        return self._error

    # --- talking ------------------------------------------------------------------------------------------

    def send(self, message: Buffer) -> bool:
        if self._ended:
            return False
        self.messages_out += 1
        return self._write(self._secret.encrypt(message))

    def send_many(self, messages: Iterable[Buffer]) -> bool:
        for message in messages:
            self.send(message)
        return self.writable

    def send_keep_alive(self) -> None:
        """Sends an empty message, which the peer drops, now."""
        if not self._ended:
            self._write(self._secret.encrypt(b""))

    def _write(self, data: Buffer) -> bool:
        if self.stream.closed:
            return False  # the peer's reset has come; the callback follows
        self.bytes_out += len(data)
        self._written_at = monotonic()
        return self.stream.write(data)

    def _on_drain(self) -> None:
        if self.on_drain is not None and not self._ended:
            self.on_drain()

    def _on_work(self, seconds: float) -> None:
        if self.on_work is not None:
            self.on_work(seconds)

    # --- listening ----------------------------------------------------------------------------------------

    @property
    def on_message(self) -> Callable[[bytes], None] | None:
        """Called with each message; None: reading is paused."""
        return self._on_message

    @on_message.setter
    def on_message(self, callback: Callable[[bytes], None] | None) -> None:
        self._on_message = callback
        if callback is None:
            self.stream.pause_reading()
        elif not self._is_paused:
            self._loop.call_soon(self._resume)

    def notify_authenticated(self, callback: Callable[[], None]) -> None:
        """Call back when the peer has sent an encrypted message. Messages are kept until `on_message` is
        set."""
        if self._secret.authenticated:
            self._loop.call_soon(callback)
        elif not self._closed:
            self._on_authenticated = callback
            self._secret.max_frame_bytes = MAX_FIRST_FRAME_BYTES
            self._loop.call_soon(self._resume_stream)

    def _resume_stream(self) -> None:
        if not self._closed:
            self.stream.resume_reading()

    @property
    def on_readable(self) -> Callable[[], None] | None:
        """Called when messages wait, for a reader that takes them with `read`."""
        return self._on_readable

    @on_readable.setter
    def on_readable(self, callback: Callable[[], None] | None) -> None:
        self._on_readable = callback
        if callback is not None and not self._is_paused:
            self._loop.call_soon(self._resume)

    @property
    def held_bytes(self) -> int:
        return self._secret.held_bytes

    @property
    def readable(self) -> bool:
        return self._secret.readable

    @property
    def unsent_bytes(self) -> int:
        core = self.stream.core
        return core.send_queue_bytes + core.in_flight_bytes

    @property
    def max_frame_bytes(self) -> int:
        """Largest frame that is accepted."""
        return self._secret.max_frame_bytes

    @max_frame_bytes.setter
    def max_frame_bytes(self, size: int) -> None:
        self._secret.max_frame_bytes = size

    def read(self) -> bytes | None:
        if self._closed:
            return None
        try:
            message, self._first = self._first or self._secret.next_message(), None
        except RemoteProtocolError as error:
            self.destroy(error)
            return None
        if message:
            self.messages_in += 1
        elif message is None and self._peer_ended:
            self.close()
        return message

    def pause_reading(self) -> None:
        self._is_paused = True
        self.stream.pause_reading()

    def resume_reading(self) -> None:
        self._is_paused = False
        if self._on_message is not None or self._on_readable is not None:
            self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        self._deliver()
        if (self._on_message is not None or self._on_readable is not None) and not self._is_paused:
            self.stream.resume_reading()

    def _on_data(self, chunks: list[Buffer]) -> None:
        self._secret.feed(chunks)
        if self._on_header is not None or self._on_authenticated is not None:
            self._poll()
        self._deliver()

    def _poll(self) -> None:
        """Read the header and one message, which authenticates the peer."""
        if not self._secret.authenticated:
            try:
                self._first = self._secret.next_message()
            except RemoteProtocolError as error:
                self.destroy(error)
                return
        self._report_progress()

    def _report_progress(self) -> None:
        """Call back for received messages, and stop reading until there is a reader."""
        callback: Callable[[], None] | None = None
        if self._on_header is not None and self._secret.header_received:
            callback, self._on_header = self._on_header, None
        elif self._on_authenticated is not None and self._secret.authenticated:
            callback, self._on_authenticated = self._on_authenticated, None
            self._secret.max_frame_bytes = MAX_FRAME_BYTES
        if callback is not None:
            if self._on_message is None and self._on_readable is None:
                self.stream.pause_reading()
            callback()

    def _deliver(self) -> None:
        """Deliver messages until a callback pauses or closes. A reader that polls is notified."""
        if self._on_readable is not None:
            self._on_readable()
            return
        while not self._is_paused and (callback := self._on_message) is not None:
            message = self.read()
            if message is None:
                break
            if message:
                callback(message)

    def _on_end(self) -> None:
        """The peer ended its side. Received messages are read first."""
        self._peer_ended = True
        if self._on_readable is not None and self.held_bytes:
            self._on_readable()
        else:
            self.close()

    # --- the end ------------------------------------------------------------------------------------------

    @property
    def on_close(self) -> Callable[[Exception | None], None] | None:
        """Called once, with the error that ended the connection, or None."""
        return self._on_close

    @on_close.setter
    def on_close(self, callback: Callable[[Exception | None], None] | None) -> None:
        self._on_close = callback
        if callback is not None and self._closed:
            self._loop.call_soon(callback, self._error)

    def add_close_listener(self, listener: Callable[[], None]) -> None:
        """Call `listener` once when the connection closes, after `on_close`; never if it is closed
        already."""
        self.stream.add_close_listener(listener)

    def close(self) -> None:
        if self._ended:
            return
        self._ended = True
        self.stream.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._loop.call_later(CLOSE_TIMEOUT, self._on_timer)

    def destroy(self, error: Exception | None = None) -> None:
        if self._closed:
            return
        self._ended = True
        self._error = error
        self.stream.destroy()

    def _on_stream_close(self, error: ConnectionClosed | None) -> None:
        self._ended = self._closed = True
        if self._error is None:
            self._error = error
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._first = None
        self._secret.close()
        self._on_header = self._on_authenticated = None
        callback, self._on_close = self._on_close, None
        self._on_message = self._on_readable = self.on_drain = self.on_work = None
        if callback is not None:
            callback(self._error)

    def _on_timer(self) -> None:
        self._timer = None
        if self._ended:
            self.destroy(ConnectionClosed("the peer did not end its side"))
            return
        wait = self._written_at + self._keep_alive - monotonic()
        if wait <= 0:
            self.send_keep_alive()
            wait = self._keep_alive
        self._timer = self._loop.call_later(wait, self._on_timer)
