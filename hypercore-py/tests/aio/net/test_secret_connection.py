"""Streams and connections on real sockets of loopback: callbacks, back-pressure, the many ways to end."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import pytest

from hypercore.aio.net import secret_connection as connection_module
from hypercore.aio.net.handshake import secure
from hypercore.aio.net.secret_connection import Connection, SecretConnection
from hypercore.aio.net.udp_socket import Endpoint
from hypercore.crypto import KeyPair
from hypercore.errors import ConnectionClosed, HandshakeError, RemoteProtocolError
from hypercore.noise import HandshakeResult
from hypercore.udx.packet import FLAG_DESTROY, Packet, header_struct
from support.aio_streams import LOOPS, endpoint_of_two, run, stream_pair


def results() -> tuple[HandshakeResult, HandshakeResult]:
    tx, rx, digest, ours, theirs = (os.urandom(size) for size in (32, 32, 64, 32, 32))
    return (
        HandshakeResult(tx, rx, digest, True, ours, theirs),
        HandshakeResult(rx, tx, digest, False, theirs, ours),
    )


def connection_pair(endpoint: Endpoint, **options: Any) -> tuple[SecretConnection, SecretConnection]:
    streams, keys = stream_pair(endpoint), results()
    loop = asyncio.get_running_loop()
    left, right = (
        SecretConnection(stream, result, loop=loop, **options)
        for stream, result in zip(streams, keys, strict=True)
    )
    return left, right


class Log:
    """What a connection called back."""

    def __init__(self, connection: Connection) -> None:
        self.messages: list[bytes] = []
        self.closed: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._wanted = 0
        self._enough = asyncio.Event()
        connection.on_message = self._on_message
        connection.on_close = self.closed.set_result

    def _on_message(self, message: bytes) -> None:
        self.messages.append(message)
        if len(self.messages) >= self._wanted:
            self._enough.set()

    async def wait(self, count: int) -> list[bytes]:
        self._wanted = count
        if len(self.messages) < count:
            self._enough.clear()
            await self._enough.wait()
        return self.messages


# --- connections ---


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_messages_of_any_size_arrive_whole_and_in_order(loop_factory: Any) -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = connection_pair(endpoint)
            logs = Log(left), Log(right)
            messages = [os.urandom(size) for size in (1, 5, 1200, 65536, 300_000, 17, 2_000_000, 3)]
            left.send_many(messages)
            right.send(bytearray(b"back"))
            right.send(memoryview(b"again"))
            assert await logs[1].wait(len(messages)) == messages
            assert await logs[0].wait(2) == [b"back", b"again"]
            assert left.messages_out == right.messages_in == len(messages)
            assert right.bytes_in == left.bytes_out == 59 + sum(map(len, messages)) + 20 * len(messages)
            assert left.public_key == right.remote_public_key
            assert left.handshake_hash == right.handshake_hash
            assert left.is_initiator and not right.is_initiator
            assert left.remote_address == endpoint.sockets[1].local_address
            assert "open" in repr(left)
            left.close()
            assert [await log.closed for log in logs] == [None, None]
            assert left.closed and right.closed
            assert not left.send(b"late")
            assert "closed" in repr(left)

    run(main(), loop_factory)


def test_nothing_is_lost_before_a_peer_listens_or_while_reading_is_paused() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = connection_pair(endpoint)
            left.send_many([b"one", b"two", b"three", b"four"])
            await asyncio.sleep(0.05)
            got: list[bytes] = []
            done = asyncio.Event()

            def picky(message: bytes) -> None:
                got.append(message)
                if message == b"two":
                    right.pause_reading()
                if message == b"four":
                    done.set()

            right.on_message = picky
            await asyncio.sleep(0.05)
            assert got == [b"one", b"two"]
            right.on_message = None
            right.resume_reading()
            await asyncio.sleep(0.02)
            assert got == [b"one", b"two"]
            right.on_message = picky
            await done.wait()
            assert got == [b"one", b"two", b"three", b"four"]

    run(main())


def test_a_sender_that_heeds_writable_is_called_when_there_is_room() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = connection_pair(endpoint)
            left_log, right_log = Log(left), Log(right)
            message, sent, largest = bytes(65536), 0, 0

            def pump() -> None:
                nonlocal sent, largest
                while sent < 300:
                    sent += 1
                    ready = left.send(message)
                    largest = max(largest, left.stream.send_queue_bytes)
                    if not ready:
                        assert not left.writable
                        return

            left.on_drain = pump
            pump()
            assert sent < 300
            await right_log.wait(300)
            assert largest < 6_000_000
            left.close()
            assert await left_log.closed is None

    run(main())


def test_keep_alives_go_out_when_nothing_else_does_and_are_not_delivered() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = connection_pair(endpoint, keep_alive=0.02)
            log = Log(right)
            left.on_message = log.messages.append
            before = left.bytes_out
            while left.bytes_out < before + 60:
                await asyncio.sleep(0.005)
            assert log.messages == []
            left.close()
            await log.closed
            left.send_keep_alive()

    run(main())


def test_bytes_that_do_not_authenticate_break_the_connection_on_both_sides() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = connection_pair(endpoint)
            logs = Log(left), Log(right)
            left.send(b"good")
            left.stream.write(b"\x14\0\0" + bytes(20))
            await logs[1].wait(1)
            error = await logs[1].closed
            assert isinstance(error, RemoteProtocolError)
            assert right.error is error
            assert getattr(await logs[0].closed, "code", None) == "ECONNRESET"

    run(main())


def test_destroying_closes_both_sides_once() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = connection_pair(endpoint)
            logs = Log(left), Log(right)
            left.send(b"x")
            await logs[1].wait(1)
            reason = ValueError("a reason of ours")
            left.destroy(reason)
            left.destroy()
            assert await logs[0].closed is reason
            assert getattr(await logs[1].closed, "code", None) == "ECONNRESET"

    run(main())


def test_what_is_sent_between_a_reset_and_the_news_of_it_is_dropped() -> None:
    """The packet has been read, and the stream calls back in the next turn of the loop."""

    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, _ = connection_pair(endpoint)
            left.on_message = lambda message: None
            await asyncio.sleep(0.05)
            ended = asyncio.get_running_loop().create_future()
            left.on_close = ended.set_result
            reset = Packet(FLAG_DESTROY, left.stream.local_id, 1 << 20, 1, 1, b"").encode()
            header: Any = header_struct.unpack_from(reset)
            left.stream.core.receive([(header, b"")], time.monotonic())
            assert left.stream.closed
            assert not left.closed
            assert not left.send(b"late")
            left.send_keep_alive()
            left.stream.resume_reading()  # schedules what `receive_packets` does
            assert isinstance(await ended, ConnectionClosed)

    run(main())


def test_a_callback_may_close_in_the_middle_of_a_batch() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = connection_pair(endpoint)
            log = Log(right)
            got: list[bytes] = []

            def once(message: bytes) -> None:
                got.append(message)
                right.destroy()

            right.on_message = once
            left.on_message = got.append
            left.send_many([b"one", b"two"])
            assert await log.closed is None
            assert got == [b"one"]

    run(main())


def test_a_close_handler_set_after_the_end_is_called_all_the_same() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = connection_pair(endpoint)
            right.on_message = bytes.strip  # type: ignore[assignment]
            left.destroy()
            called: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
            left.on_close = called.set_result
            assert await called is None

    run(main())


def test_a_connection_on_a_stream_that_has_ended_closes_at_once() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, _ = stream_pair(endpoint)
            left.destroy()
            connection = SecretConnection(left, results()[0], loop=asyncio.get_running_loop())
            assert isinstance(await Log(connection).closed, ConnectionClosed)

    run(main())


def test_a_peer_that_never_ends_its_side_is_dropped_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(connection_module, "CLOSE_TIMEOUT", 0.05)
        async with endpoint_of_two() as endpoint:
            stream, _ = stream_pair(endpoint)
            connection = SecretConnection(stream, results()[0], loop=asyncio.get_running_loop())
            log = Log(connection)
            connection.close()
            assert isinstance(await log.closed, ConnectionClosed)

    run(main())


# --- the handshake in the stream ---


def test_two_streams_secure_themselves_and_early_words_are_not_lost() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            streams = stream_pair(endpoint)
            keys = [KeyPair.from_seed(os.urandom(32)) for _ in range(2)]

            async def client() -> SecretConnection:
                connection = await secure(streams[0], is_initiator=True, key_pair=keys[0])
                connection.send(b"early")
                return connection

            left, right = await asyncio.gather(
                client(), secure(streams[1], is_initiator=False, key_pair=keys[1])
            )
            await asyncio.sleep(0.02)
            log = Log(right)
            assert await log.wait(1) == [b"early"]
            assert left.remote_public_key == keys[1].public_key
            left.destroy()

    run(main())


def test_a_handshake_with_a_peer_that_talks_nonsense_fails() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = stream_pair(endpoint)
            right.write(b"HTTP/1.1 400 Bad Request")
            with pytest.raises(HandshakeError):
                await secure(left, is_initiator=True, key_pair=KeyPair.from_seed(bytes(32)))
            assert left.closed

    run(main())


@pytest.mark.parametrize("way", ["end", "destroy"])
def test_a_handshake_with_a_peer_that_leaves_fails(way: str) -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = stream_pair(endpoint)
            right.write(b" ")
            getattr(right, way)()
            with pytest.raises(ConnectionClosed):
                await secure(left, is_initiator=True, key_pair=KeyPair.from_seed(bytes(32)))

    run(main())


def test_a_cancelled_handshake_destroys_its_stream() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, _ = stream_pair(endpoint)
            with pytest.raises(asyncio.TimeoutError):
                async with asyncio.timeout(0.02):
                    await secure(left, is_initiator=True, key_pair=KeyPair.from_seed(bytes(32)))
            assert left.closed

    run(main())
