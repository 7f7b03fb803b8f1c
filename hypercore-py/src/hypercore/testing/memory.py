"""Two connected `Connection`s in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from hashlib import blake2b

from .._types import Buffer

HIGH_WATER_BYTES = 1 << 20
"""Undelivered bytes from which on a sender must wait."""

Scheduler = Callable[[Callable[[], None]], object]


class MemoryConnection:
    """One end of a pair made by `memory_pair`."""

    def __init__(self, public_key: bytes, handshake_hash: bytes, is_initiator: bool) -> None:
        self.public_key = public_key
        self.remote_public_key = b""
        self.handshake_hash = handshake_hash
        self.is_initiator = is_initiator
        self.remote_address: tuple[str, int] | None = None
        self.bytes_in = self.bytes_out = 0
        self.messages_in = self.messages_out = 0
        self.opened_at = 0.0
        self.closed = False
        self.on_drain: Callable[[], None] | None = None
        self.on_work: Callable[[float], None] | None = None
        self._on_readable: Callable[[], None] | None = None
        self.max_frame_bytes = 2**24 - 1
        self._on_message: Callable[[bytes], None] | None = None
        self._on_close: Callable[[Exception | None], None] | None = None
        self._peer: MemoryConnection = self
        self._schedule: Scheduler | None = None
        self._inbox: deque[bytes] = deque()
        self._inbox_bytes = 0
        self._ended = False
        self._paused = False
        self._error: Exception | None = None
        self._drain_due = False
        self._pump_is_scheduled = False

    def __repr__(self) -> str:
        return f"<MemoryConnection {self.public_key.hex()[:8]} to {self.remote_public_key.hex()[:8]}>"

    @property
    def writable(self) -> bool:
        return not self._ended and self._peer._inbox_bytes < HIGH_WATER_BYTES

    @property
    def on_message(self) -> Callable[[bytes], None] | None:
        """Called with each message; None: reading is paused."""
        return self._on_message

    @on_message.setter
    def on_message(self, callback: Callable[[bytes], None] | None) -> None:
        self._on_message = callback
        self._wake()

    @property
    def on_readable(self) -> Callable[[], None] | None:
        """Called when messages wait, for a reader that takes them with `read`."""
        return self._on_readable

    @on_readable.setter
    def on_readable(self, callback: Callable[[], None] | None) -> None:
        self._on_readable = callback
        self._wake()

    @property
    def held_bytes(self) -> int:
        return self._inbox_bytes

    @property
    def readable(self) -> bool:
        return bool(self._inbox)

    @property
    def unsent_bytes(self) -> int:
        return self._peer._inbox_bytes

    def read(self) -> bytes | None:
        if not self._inbox or self.closed:
            return None
        data = self._inbox.popleft()
        self._inbox_bytes -= len(data)
        self.messages_in += 1
        self.bytes_in += len(data)
        self._wake()
        self._peer._wake()
        return data

    @property
    def on_close(self) -> Callable[[Exception | None], None] | None:
        """Called once, with the error that ended the connection, or None."""
        return self._on_close

    @on_close.setter
    def on_close(self, callback: Callable[[Exception | None], None] | None) -> None:
        self._on_close = callback
        self._wake()

    def send(self, message: Buffer) -> bool:
        if self._ended:
            return False
        data = bytes(message)
        self.messages_out += 1
        self.bytes_out += len(data)
        peer = self._peer
        peer._inbox.append(data)
        peer._inbox_bytes += len(data)
        peer._wake()
        self._drain_due = not self.writable
        return self.writable

    def send_many(self, messages: Iterable[Buffer]) -> bool:
        for message in messages:
            self.send(message)
        return self.writable

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._wake()

    def close(self) -> None:
        self._ended = True
        self._wake()
        self._peer._wake()

    def destroy(self, error: Exception | None = None) -> None:
        if self.closed:
            return
        self._inbox.clear()
        self._inbox_bytes = 0
        self._finish(error)
        if not self._peer.closed:
            self._peer._inbox.clear()
            self._peer._finish(ConnectionResetError("the peer destroyed the connection"))

    def pump(self) -> bool:
        """Delivers what waits here. True when anything happened."""
        worked = False
        if self._inbox and self._on_readable is not None and not self._paused and not self.closed:
            self._on_readable()
        while self._inbox and self._on_message is not None and not self._paused and not self.closed:
            data = self._inbox.popleft()
            self._inbox_bytes -= len(data)
            self.messages_in += 1
            self.bytes_in += len(data)
            self._on_message(data)
            worked = True
        worked = self._peer._maybe_drain() or worked
        if self._peer._ended and not self._inbox and not self.closed:
            self._ended = True
            if not self._peer._inbox or self._peer.closed:
                self._finish(None)
                worked = True
            self._peer._wake()
        if self.closed and self._on_close is not None:
            callback, self._on_close = self._on_close, None
            callback(self._error)
            worked = True
        return worked

    def _maybe_drain(self) -> bool:
        if not self._drain_due or not self.writable or self.on_drain is None:
            return False
        self._drain_due = False
        self.on_drain()
        return True

    def _finish(self, error: Exception | None) -> None:
        self.closed = self._ended = True
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._schedule is not None and not self._pump_is_scheduled:
            self._pump_is_scheduled = True
            self._schedule(self._on_wake)

    def _on_wake(self) -> None:
        self._pump_is_scheduled = False
        self.pump()


def memory_pair(
    schedule: Scheduler | None = None, *, names: tuple[str, str] = ("left", "right")
) -> tuple[MemoryConnection, MemoryConnection]:
    """Two connections to one another; the first is the initiator. Keys are made from `names`.

    `schedule` is something like `loop.call_soon`. Without it nothing moves until `pump` is called on both.
    """
    keys = [blake2b(name.encode(), digest_size=32).digest() for name in names]
    handshake_hash = blake2b(b"".join(keys), digest_size=64).digest()
    left = MemoryConnection(keys[0], handshake_hash, True)
    right = MemoryConnection(keys[1], handshake_hash, False)
    left._peer, right._peer = right, left
    left.remote_public_key, right.remote_public_key = right.public_key, left.public_key
    left._schedule = right._schedule = schedule
    return left, right
