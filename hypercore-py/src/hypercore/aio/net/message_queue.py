"""Datagrams that are for no stream, delivered in portions.

One batch of a socket holds hundreds of them, and each can be a handshake that takes half a millisecond. What
does not fit into the time of a turn waits for the next one; streams and timers run in between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

TURN_SECONDS = 0.005
"""Seconds of delivering after which other work of the loop gets its turn."""

MAX_WAITING = 1024
"""Messages that wait. Further ones are lost, as in a full buffer of the kernel. Ours."""

MAX_WAITING_BYTES = 1 << 20
"""Bytes of the messages that wait. Ours."""

Address = tuple[str, int]
Socket = TypeVar("Socket")


class MessageQueue(Generic[Socket]):
    """The messages of all sockets of an endpoint, in the order in which they came."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, deliver: Callable[[bytes, Address, Socket], None]
    ) -> None:
        self.lost = 0
        """Messages for which there was no room."""
        self._loop = loop
        self._deliver = deliver
        self._waiting: deque[tuple[bytes, Address, Socket]] = deque()
        self._waiting_bytes = 0
        self._left = TURN_SECONDS
        self._turn: asyncio.Handle | None = None

    def put(self, data: bytes, address: Address, socket: Socket) -> None:
        """Deliver a message now, or in a later turn of the loop if this one has had its time."""
        if self._turn is None:
            self._left = TURN_SECONDS
            self._turn = self._loop.call_soon(self._next_turn)
        if self._left > 0 and not self._waiting:
            self._timed(data, address, socket)
        elif len(self._waiting) < MAX_WAITING and self._waiting_bytes + len(data) <= MAX_WAITING_BYTES:
            self._waiting.append((data, address, socket))
            self._waiting_bytes += len(data)
        else:
            self.lost += 1

    def close(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _next_turn(self) -> None:
        self._left = TURN_SECONDS
        while self._waiting and self._left > 0:
            data, address, socket = self._waiting.popleft()
            self._waiting_bytes -= len(data)
            self._timed(data, address, socket)
        # What is put meanwhile shares the time of this turn
        self._turn = self._loop.call_soon(self._next_turn) if self._waiting else None

    def _timed(self, data: bytes, address: Address, socket: Socket) -> None:
        began = monotonic()
        self._deliver(data, address, socket)
        self._left -= monotonic() - began
