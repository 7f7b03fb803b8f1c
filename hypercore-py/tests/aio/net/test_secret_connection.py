"""Streams and connections on real sockets of loopback: callbacks, back-pressure, the many ways to end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from hashlib import sha256
from random import Random
from typing import Any

import pytest
import uvloop

from hypercore.aio.net import secret_connection as connection_module
from hypercore.aio.net import udp_socket as udp_module
from hypercore.aio.net.handshake import secure
from hypercore.aio.net.secret_connection import Connection, SecretConnection
from hypercore.aio.net.udp_socket import Endpoint
from hypercore.aio.net.udx_transport import StreamTransport
from hypercore.crypto import KeyPair
from hypercore.errors import ConnectionClosed, HandshakeError, RemoteProtocolError
from hypercore.noise import HandshakeResult
from hypercore.udx.packet import FLAG_DATA, FLAG_DESTROY, Packet, header_struct

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def run(
    main: Coroutine[Any, Any, None],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(asyncio.wait_for(main, 30))


@asynccontextmanager
async def endpoint_of_two() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    endpoint.bind("127.0.0.1")
    endpoint.bind("127.0.0.1")
    try:
        yield endpoint
    finally:
        endpoint.close()


def stream_pair(endpoint: Endpoint) -> tuple[StreamTransport, StreamTransport]:
    left, right = StreamTransport(endpoint), StreamTransport(endpoint)
    first, second = endpoint.sockets
    left.connect(right.local_id, second.local_address, first)
    right.connect(left.local_id, first.local_address, second)
    return left, right


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


# --- streams ---


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_streams_carry_megabytes_both_ways_and_close_cleanly(loop_factory: Any) -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            pair = stream_pair(endpoint)
            data = [Random(seed).randbytes(5_000_000) for seed in range(2)]
            hashes = [sha256(), sha256()]
            closed = [asyncio.get_running_loop().create_future() for _ in range(2)]

            def start(index: int) -> None:
                stream, at = pair[index], 0

                def pump() -> None:
                    nonlocal at
                    while at < len(data[index]):
                        at += 50_000
                        if not stream.write(data[index][at - 50_000 : at]):
                            return
                    stream.end()

                stream.on_data = lambda chunks: hashes[index].update(b"".join(chunks))
                stream.on_drain = pump
                stream.on_close = closed[index].set_result
                pump()

            start(0)
            start(1)
            assert await asyncio.gather(*closed) == [None, None]
            assert [h.digest() for h in hashes] == [sha256(data[1]).digest(), sha256(data[0]).digest()]

    run(main(), loop_factory)


def test_many_streams_share_the_sockets_of_an_endpoint() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            pairs = [stream_pair(endpoint) for _ in range(40)]
            closed: list[asyncio.Future[Any]] = []
            for number, (left, right) in enumerate(pairs):
                future = asyncio.get_running_loop().create_future()
                closed.append(future)
                got = bytearray()

                def on_data(chunks: list[Any], got: bytearray = got) -> None:
                    for chunk in chunks:
                        got.extend(chunk)

                right.on_data = on_data
                right.on_end = right.end
                right.on_close = lambda error, future=future, got=got: future.set_result((error, bytes(got)))
                left.write(bytes([number]) * 30_000)
                left.end()
            for number, outcome in enumerate(await asyncio.gather(*closed)):
                assert outcome == (None, bytes([number]) * 30_000)

    run(main())


def test_packets_from_an_unknown_place_are_let_in_or_not_by_the_accept_hook() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = StreamTransport(endpoint), StreamTransport(endpoint)
            first, second = endpoint.sockets
            got, asked = asyncio.Event(), []

            def accept(socket: Any, address: Any) -> bool:
                asked.append((socket, address))
                return len(asked) > 1

            right.accept = accept
            right.on_data = lambda chunks: got.set()
            left.connect(right.local_id, second.local_address, first)
            left.write(b"knock")
            await got.wait()
            assert asked == [(second, first.local_address)] * 2
            assert not right.connected
            right.connect(left.local_id, first.local_address, second)
            left.end()
            right.end()
            closed = asyncio.Event()
            left.on_close = lambda error: closed.set()
            await closed.wait()

    run(main())


def test_a_stream_moves_to_another_socket_and_id_without_losing_bytes() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = stream_pair(endpoint)
            first, _ = endpoint.sockets
            third = endpoint.bind("127.0.0.1")
            got = bytearray()
            changed, done = asyncio.Event(), asyncio.Event()
            right.on_data = lambda chunks: got.extend(b"".join(chunks))
            right.on_end = done.set
            right.roaming = True
            left.on_remote_changed = changed.set
            left.write(b"a" * 100_000)
            await asyncio.sleep(0)
            left.change_remote(right.local_id, third.local_address, first)
            left.write(b"b" * 100_000)
            left.end()
            await changed.wait()
            await done.wait()
            assert got == b"a" * 100_000 + b"b" * 100_000

    run(main())


def test_a_full_kernel_buffer_delays_packets_and_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = stream_pair(endpoint)
            first = endpoint.sockets[0]
            send, calls = first.send_segments, 0

            def clogged(buffers: Any, size: int, count: int, address: Any) -> int:
                nonlocal calls
                calls += 1
                if calls % 3 == 0:
                    return 0
                if calls % 3 == 1 and count > 1:
                    step = len(buffers) // count
                    return send(buffers[:step], size, 1, address)
                return send(buffers, size, count, address)

            monkeypatch.setattr(first, "send_segments", clogged)
            data = Random(3).randbytes(400_000)
            got, done = bytearray(), asyncio.Event()
            right.on_data = lambda chunks: got.extend(b"".join(chunks))
            right.on_end = done.set
            left.write(data)
            left.end()
            await done.wait()
            assert got == data
            assert calls > 10

    run(main())


def test_a_callback_that_raises_is_reported_and_costs_nobody_a_byte() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reports: list[Any] = []
        loop.set_exception_handler(lambda _, context: reports.append(context["exception"]))
        async with endpoint_of_two() as endpoint:
            broken, sound = stream_pair(endpoint), stream_pair(endpoint)
            unconnected = StreamTransport(endpoint)
            unconnected.accept = lambda socket, address: 1 / 0  # type: ignore[assignment, return-value]
            got, done = bytearray(), asyncio.Event()
            outcome: asyncio.Future[Any] = loop.create_future()

            def fail(*_: Any) -> None:
                raise ValueError("a bug in an application")

            broken[1].on_data = broken[1].on_end = fail
            broken[0].on_close = outcome.set_result
            sound[1].on_data = lambda chunks: got.extend(b"".join(chunks))
            sound[1].on_end = done.set
            for left, _ in (broken, sound):
                left.write(bytes(100_000))
                left.end()
            broken[1].end()
            endpoint._on_message = fail
            endpoint.sockets[1].send(b"a message", endpoint.sockets[0].local_address)
            strayed = Packet(FLAG_DATA, unconnected.local_id, 0, 0, 0, b"x").encode()
            endpoint.sockets[1].send(strayed, endpoint.sockets[0].local_address)
            assert await outcome is None
            await done.wait()
            assert got == bytes(100_000)
            assert {type(error) for error in reports} == {ValueError, ZeroDivisionError}

    run(main())


def test_close_listeners_are_called_after_the_owner_even_if_that_fails() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: called.append("reported"))
        called: list[str] = []
        async with endpoint_of_two() as endpoint:
            left, _ = stream_pair(endpoint)
            left.add_close_listener(lambda: called.append("first"))

            def fail(error: Exception | None) -> None:
                called.append("owner")
                raise ValueError("a bug in an application")

            left.on_close = fail  # set last: a listener must not depend on the order
            left.add_close_listener(lambda: called.append("second"))
            left.destroy()
            assert called == ["owner", "reported", "first", "second"]
            left.destroy()
            assert called[3:] == ["second"]

    run(main())


def test_an_overrun_of_the_socket_is_told_to_the_stream_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = stream_pair(endpoint)
            first, second = endpoint.sockets
            told: list[int] = []
            monkeypatch.setattr(right.core, "on_rx_dropped", lambda capacity, now: told.append(capacity))
            got, done = bytearray(), asyncio.Event()
            right.on_data = lambda chunks: got.extend(b"".join(chunks))
            right.on_end = done.set
            send, dropped = first.send_segments, 0

            def lossy(buffers: Any, size: int, count: int, address: Any) -> int:
                nonlocal dropped
                if count > 3 and not dropped:
                    dropped = 1
                    monkeypatch.setattr(second, "rx_dropped", lambda: 1)
                    step = len(buffers) // count
                    send(buffers[step:], size, count - 1, address)
                    return count
                return send(buffers, size, count, address)

            monkeypatch.setattr(first, "send_segments", lossy)
            left.write(bytes(200_000))
            left.end()
            await done.wait()
            assert got == bytes(200_000)
            assert told == [second.receive_capacity]

    run(main())


def test_a_closed_stream_answers_for_a_while_and_then_frees_its_id() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = stream_pair(endpoint)
            closed = [asyncio.Event(), asyncio.Event()]
            left.on_close = lambda error: closed[0].set()
            right.on_close = lambda error: closed[1].set()
            left.end()
            right.end()
            await closed[0].wait()
            await closed[1].wait()
            lingering = endpoint._streams[left.local_id]
            assert type(lingering).__name__ == "LingeringStream"
            assert not lingering.accepts(endpoint.sockets[1], ("127.0.0.1", 1))
            endpoint._stop_lingering(left.local_id)
            assert left.local_id not in endpoint._streams

    run(main())


def test_streams_that_linger_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(udp_module, "MAX_LINGERING", 5)
        async with endpoint_of_two() as endpoint:
            for _ in range(10):
                left, right = stream_pair(endpoint)
                await asyncio.sleep(0)
                left.destroy()
                right.destroy()
            assert len(endpoint._lingering) == 5
            assert len(endpoint._streams) == 5

    run(main())


def test_closing_the_endpoint_resets_its_streams() -> None:
    async def main() -> None:
        other = Endpoint()
        async with endpoint_of_two() as endpoint:
            first, second = endpoint.sockets[0], other.bind("127.0.0.1")
            left, right = StreamTransport(endpoint), StreamTransport(other)
            left.connect(right.local_id, second.local_address, first)
            right.connect(left.local_id, first.local_address, second)
            outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            right.on_close = outcome.set_result
            left.write(b"x")
            await asyncio.sleep(0.01)
        assert (await outcome).code == "ECONNRESET"
        assert left.closed
        other.close()

    run(main())


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


def test_nothing_is_lost_before_somebody_listens_or_while_reading_is_paused() -> None:
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
            message, sent, most = bytes(65536), 0, 0

            def pump() -> None:
                nonlocal sent, most
                while sent < 300:
                    sent += 1
                    ready = left.send(message)
                    most = max(most, left.stream.send_queue_bytes)
                    if not ready:
                        assert not left.writable
                        return

            left.on_drain = pump
            pump()
            assert sent < 300
            await right_log.wait(300)
            assert most < 6_000_000
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


def test_destroy_is_told_to_both_sides_once() -> None:
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
