"""A connection with a muxer on it: messages in, messages out, and nothing of what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..connection import Connection
from ..errors import RemoteProtocolError
from ..mux import Muxer


class Link:
    """Pumps between a connection and its muxer. Output is collected over one turn of the loop, so that what
    belongs together travels in one message.

    `on_close` is called once, after the channels were told.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        loop: asyncio.AbstractEventLoop,
        on_close: Callable[[Link, Exception | None], None],
    ) -> None:
        self.connection = connection
        self.muxer = Muxer(
            is_initiator=connection.is_initiator,
            handshake_hash=connection.handshake_hash,
            on_output=self._has_output,
        )
        self.muxer.remote_public_key = connection.remote_public_key
        self._loop = loop
        self._on_close = on_close
        self._scheduled = False
        self._held = False
        self._paused = False
        connection.on_drain = self._send
        connection.on_close = self._closed
        connection.on_message = self._receive

    def hold(self, held: bool) -> None:
        """Read nothing from the peer for a while, since what it sends has no place to go."""
        self._held = held
        self._steer_reading()

    def _receive(self, message: bytes) -> None:
        try:
            self.muxer.receive(message, self._loop.time())
        except RemoteProtocolError as error:
            self.connection.destroy(error)
            return
        if self._paused is not (self._held or self.muxer.paused):
            self._steer_reading()

    def _steer_reading(self) -> None:
        paused = self._held or self.muxer.paused
        if paused is self._paused or self.connection.closed:
            return
        self._paused = paused
        if paused:
            self.connection.pause_reading()
        else:
            self.connection.resume_reading()

    def _has_output(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._send()
        if self._paused:
            self._steer_reading()  # the decision that a channel was waiting for may have been taken

    def _send(self) -> None:
        """As much as the connection takes. What is left goes when it has drained."""
        connection, muxer = self.connection, self.muxer
        muxer.rtt = connection.rtt
        while connection.writable and not muxer.closed:
            messages = muxer.take_output(self._loop.time())
            if not messages:
                return
            connection.send_many(messages)

    def _closed(self, error: Exception | None) -> None:
        self.muxer.shutdown(self._loop.time())
        self._on_close(self, error)
