"""UDX streams on real sockets of loopback: back-pressure, callbacks, moving, waiting."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from random import Random
from time import thread_time
from typing import Any

import pytest

from hypercore.aio.net import udp_socket as udp_module
from hypercore.aio.net.udp_socket import Endpoint
from hypercore.aio.net.udx_transport import StreamTransport
from hypercore.udx.packet import FLAG_DATA, Packet
from support.aio_streams import LOOPS, endpoint_of_two, listen, run, stream_pair

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

                listen(
                    stream,
                    on_data=lambda chunks: hashes[index].update(b"".join(chunks)),
                    on_drain=pump,
                    on_close=closed[index].set_result,
                )
                pump()

            start(0)
            start(1)
            assert await asyncio.gather(*closed) == [None, None]
            assert [h.digest() for h in hashes] == [sha256(data[1]).digest(), sha256(data[0]).digest()]

    run(main(), loop_factory)


def test_the_time_that_packets_take_is_reported_to_the_owner_of_the_stream() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            sender, receiver = stream_pair(endpoint)
            received: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            worked: dict[str, list[float]] = {"sender": [], "receiver": []}
            listen(sender, on_work=worked["sender"].append)
            listen(receiver, on_work=worked["receiver"].append)
            left = [2_000_000]

            def on_data(chunks: list[Any]) -> None:
                until = thread_time() + 0.001
                while thread_time() < until:
                    pass
                left[0] -= sum(map(len, chunks))
                if not left[0]:
                    received.set_result(None)

            listen(receiver, on_data=on_data)
            began = thread_time()
            sender.write(bytes(left[0]))
            await received
            await asyncio.sleep(0)
            assert 0.001 < sum(worked["receiver"]) < thread_time() - began
            assert 0 < sum(worked["sender"]) + sum(worked["receiver"]) < thread_time() - began

    run(main(), asyncio.new_event_loop)


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

                listen(
                    right,
                    on_data=on_data,
                    on_end=right.end,
                    on_close=lambda error, future=future, got=got: future.set_result((error, bytes(got))),
                )
                left.write(bytes([number]) * 30_000)
                left.end()
            for number, outcome in enumerate(await asyncio.gather(*closed)):
                assert outcome == (None, bytes([number]) * 30_000)

    run(main())


def test_packets_from_an_unknown_place_are_let_in_or_not_by_the_accept_hook() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            first, second = endpoint.sockets
            got, asked = asyncio.Event(), []

            def accept(socket: Any, address: Any) -> bool:
                asked.append((socket, address))
                return len(asked) > 1

            left, right = StreamTransport(endpoint), StreamTransport(endpoint, accept=accept)
            listen(right, on_data=lambda chunks: got.set())
            left.connect(right.local_id, second.local_address, first)
            left.write(b"knock")
            await got.wait()
            assert asked == [(second, first.local_address)] * 2
            assert not right.connected
            right.connect(left.local_id, first.local_address, second)
            left.end()
            right.end()
            closed = asyncio.Event()
            listen(left, on_close=lambda error: closed.set())
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
            listen(right, on_data=lambda chunks: got.extend(b"".join(chunks)), on_end=done.set)
            right.roaming = True
            listen(left, on_remote_changed=changed.set)
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
            listen(right, on_data=lambda chunks: got.extend(b"".join(chunks)), on_end=done.set)
            left.write(data)
            left.end()
            await done.wait()
            assert got == data
            assert calls > 10

    run(main())


def test_a_callback_that_raises_is_reported_and_loses_no_byte() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reports: list[Any] = []
        loop.set_exception_handler(lambda _, context: reports.append(context["exception"]))
        async with endpoint_of_two() as endpoint:
            broken, sound = stream_pair(endpoint), stream_pair(endpoint)
            unconnected = StreamTransport(endpoint, accept=lambda socket, address: bool(1 / 0))
            got, done = bytearray(), asyncio.Event()
            outcome: asyncio.Future[Any] = loop.create_future()

            def fail(*_: Any) -> None:
                raise ValueError("a bug in an application")

            listen(broken[1], on_data=fail, on_end=fail)
            listen(broken[0], on_close=outcome.set_result)
            listen(sound[1], on_data=lambda chunks: got.extend(b"".join(chunks)), on_end=done.set)
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

            listen(left, on_close=fail)  # set last: a listener must not depend on the order
            left.add_close_listener(lambda: called.append("second"))
            left.destroy()
            assert called == ["owner", "reported", "first", "second"]
            left.destroy()
            assert called[3:] == ["second"]

    run(main())


def test_the_stream_learns_once_that_the_socket_overran(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = stream_pair(endpoint)
            first, second = endpoint.sockets
            notified: list[int] = []
            monkeypatch.setattr(right.core, "on_rx_dropped", lambda capacity, now: notified.append(capacity))
            got, done = bytearray(), asyncio.Event()
            listen(right, on_data=lambda chunks: got.extend(b"".join(chunks)), on_end=done.set)
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
            assert notified == [second.receive_capacity]

    run(main())


def test_a_closed_stream_answers_for_a_while_and_then_frees_its_id() -> None:
    async def main() -> None:
        async with endpoint_of_two() as endpoint:
            left, right = stream_pair(endpoint)
            closed = [asyncio.Event(), asyncio.Event()]
            listen(left, on_close=lambda error: closed[0].set())
            listen(right, on_close=lambda error: closed[1].set())
            left.end()
            right.end()
            await closed[0].wait()
            await closed[1].wait()
            waiting = endpoint._streams[left.local_id]
            assert type(waiting).__name__ == "TimeWaitStream"
            assert not waiting.accepts(endpoint.sockets[1], ("127.0.0.1", 1))
            endpoint._end_time_wait(left.local_id)
            assert left.local_id not in endpoint._streams

    run(main())


def test_streams_that_linger_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(udp_module, "MAX_TIME_WAITS", 5)
        async with endpoint_of_two() as endpoint:
            for _ in range(10):
                left, right = stream_pair(endpoint)
                await asyncio.sleep(0)
                left.destroy()
                right.destroy()
            assert len(endpoint._time_waits) == 5
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
            listen(right, on_close=outcome.set_result)
            left.write(b"x")
            await asyncio.sleep(0.01)
        assert (await outcome).code == "ECONNRESET"
        assert left.closed
        other.close()

    run(main())
