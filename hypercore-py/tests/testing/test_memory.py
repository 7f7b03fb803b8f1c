"""The stand-ins that are shipped for other people's tests."""

from __future__ import annotations

import asyncio
from typing import Any

from hypercore.connection import Connection
from hypercore.testing import MemoryConnection, memory_pair
from hypercore.testing.memory import HIGH_WATER_BYTES


def pump(*connections: MemoryConnection) -> None:
    while any([connection.pump() for connection in connections]):
        pass


def test_a_memory_pair_is_a_pair_of_connections() -> None:
    left: Connection
    left, right = memory_pair()
    assert left.public_key == right.remote_public_key != left.remote_public_key
    assert left.handshake_hash == right.handshake_hash
    assert len(left.handshake_hash) == 64
    assert left.is_initiator and not right.is_initiator


def test_messages_move_when_pumped_and_only_when_a_peer_listens() -> None:
    left, right = memory_pair()
    left.send_many([b"one", memoryview(b"two")])
    pump(left, right)
    got: list[bytes] = []
    right.on_message = got.append
    assert got == []
    pump(left, right)
    assert got == [b"one", b"two"]
    right.pause_reading()
    left.send(b"three")
    pump(left, right)
    assert got == [b"one", b"two"]
    right.resume_reading()
    pump(left, right)
    assert got[-1] == b"three"
    assert (left.messages_out, right.messages_in, right.bytes_in) == (3, 3, 11)


def test_a_memory_connection_pushes_back_and_says_when_there_is_room() -> None:
    left, right = memory_pair()
    drained: list[bool] = []
    left.on_drain = lambda: drained.append(left.writable)
    while left.send(bytes(100_000)):
        pass
    assert not left.writable
    assert left.bytes_out < HIGH_WATER_BYTES + 100_001
    right.on_message = lambda message: None
    pump(left, right)
    assert drained == [True]


def test_a_graceful_close_delivers_what_was_sent_first() -> None:
    left, right = memory_pair()
    events: list[Any] = []
    right.on_message = events.append
    right.on_close = events.append
    left.on_close = lambda error: events.append(("left", error))
    left.send(b"last words")
    left.close()
    assert not left.send(b"late")
    pump(left, right)
    assert events[:2] == [b"last words", None] or events == [b"last words", ("left", None), None]
    assert left.closed and right.closed
    assert ("left", None) in events


def test_destroy_drops_what_is_on_its_way() -> None:
    left, right = memory_pair()
    events: list[Any] = []
    right.on_message = events.append
    right.on_close = events.append
    error = ValueError("ours")
    left.send(b"lost")
    left.destroy(error)
    left.destroy()
    left.on_close = events.append
    pump(left, right)
    assert [type(event) for event in events] == [ConnectionResetError, ValueError] or events[0] is error
    assert len(events) == 2


def test_with_a_scheduler_messages_move_by_themselves() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = memory_pair(loop.call_soon)
        got: asyncio.Future[bytes] = loop.create_future()
        closed: asyncio.Future[Exception | None] = loop.create_future()
        right.on_message = got.set_result
        right.on_close = closed.set_result
        left.send(b"hello")
        assert await got == b"hello"
        left.close()
        assert await closed is None

    asyncio.run(asyncio.wait_for(main(), 10))
