"""Connections in memory and a swarm that a test hands them to."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Message = bytes | bytearray | memoryview


class MemoryConnection:
    """One end of a pair. Messages arrive in order, in a later turn of the loop."""

    def __init__(self, public_key: bytes, remote_public_key: bytes, *, is_initiator: bool) -> None:
        self.public_key = public_key
        self.remote_public_key = remote_public_key
        self.is_initiator = is_initiator
        self.handshake_hash = hashlib.sha512(b"".join(sorted([public_key, remote_public_key]))).digest()
        self.remote_address = ("127.0.0.1", 1)
        self.other: MemoryConnection | None = None
        self.on_drain: Callable[[], None] | None = None
        self.on_close: Callable[[Exception | None], None] | None = None
        self.opened_at = 0.0
        self.rtt: float | None = 0.001
        self.bytes_in = self.bytes_out = self.messages_in = self.messages_out = 0
        self.writable = True
        self.closed = False
        self.error: Exception | None = None
        self._paused = False
        self._waiting: list[bytes] = []
        self.unsent_bytes = 0
        self.max_frame_bytes = 2**24 - 1
        self._on_message: Callable[[bytes], None] | None = None
        self._on_readable: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def on_message(self) -> Callable[[bytes], None] | None:
        return self._on_message

    @on_message.setter
    def on_message(self, callback: Callable[[bytes], None] | None) -> None:
        self._on_message = callback
        self._loop.call_soon(self._deliver)

    @property
    def on_readable(self) -> Callable[[], None] | None:
        return self._on_readable

    @on_readable.setter
    def on_readable(self, callback: Callable[[], None] | None) -> None:
        self._on_readable = callback
        self._loop.call_soon(self._deliver)

    @property
    def readable(self) -> bool:
        return bool(self._waiting)

    @property
    def held_bytes(self) -> int:
        return sum(map(len, self._waiting))

    def read(self) -> bytes | None:
        return self._waiting.pop(0) if self._waiting and not self.closed else None

    def send(self, message: Message) -> bool:
        if not self.closed and self.other is not None:
            self.messages_out += 1
            self.bytes_out += len(message)
            self._loop.call_soon(self.other._arrive, bytes(message))
        return True

    def send_many(self, messages: Iterable[Message]) -> bool:
        for message in messages:
            self.send(message)
        return True

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._loop.call_soon(self._deliver)

    def close(self) -> None:
        self.destroy()

    def destroy(self, error: Exception | None = None) -> None:
        if self.closed:
            return
        self.closed = True
        self.error = error
        self._loop.call_soon(self._notify_closed)
        if self.other is not None:
            self._loop.call_soon(self.other.destroy)

    def _notify_closed(self) -> None:
        if self.on_close is not None:
            self.on_close(self.error)

    def _arrive(self, message: bytes) -> None:
        self.messages_in += 1
        self.bytes_in += len(message)
        self._waiting.append(message)
        self._deliver()

    def _deliver(self) -> None:
        if self._waiting and self._on_readable is not None and not self.closed:
            self._on_readable()
        while self._waiting and self._on_message is not None and not self._paused and not self.closed:
            self._on_message(self._waiting.pop(0))


def connected() -> tuple[MemoryConnection, MemoryConnection]:
    a_key, b_key = os.urandom(32), os.urandom(32)
    a = MemoryConnection(a_key, b_key, is_initiator=True)
    b = MemoryConnection(b_key, a_key, is_initiator=False)
    a.other, b.other = b, a
    return a, b


@dataclass
class FakeTopic:
    """Remembers what it received."""

    topic: bytes
    server: bool
    client: bool
    opportunistic_lookup: bool = False
    left: bool = False
    refreshes: int = 0
    modes: list[tuple[bool, bool]] = field(default_factory=list)

    async def leave(self) -> None:
        self.left = True


class FakeSwarm:
    """Does nothing by itself. `close` takes as long as `closing` says."""

    public_key = bytes([8]) * 32
    host = "127.0.0.1"
    port = 49_737
    firewalled = False

    def __init__(self) -> None:
        self.connections: list[MemoryConnection] = []
        self.topics: dict[bytes, FakeTopic] = {}
        self.started = self.closed = False
        self.closing: asyncio.Event | None = None

    async def start(self) -> None:
        self.started = True

    def join(self, topic: bytes, *, server: bool, client: bool, opportunistic_lookup: bool) -> FakeTopic:
        self.topics[topic] = FakeTopic(topic, server, client, opportunistic_lookup)
        return self.topics[topic]

    def set_mode(self, topic: FakeTopic, *, server: bool, client: bool, refresh: bool = False) -> None:
        if (server, client) != (topic.server, topic.client):
            topic.server, topic.client = server, client
            topic.modes.append((server, client))
        topic.refreshes += refresh

    async def close(self) -> None:
        self.closed = True
        if self.closing is not None:
            await self.closing.wait()
        for connection in self.connections:
            connection.close()
