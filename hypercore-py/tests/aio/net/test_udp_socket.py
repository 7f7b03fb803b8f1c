"""UDP sockets shared by streams and the DHT: batches, trains of datagrams, fallbacks, demultiplexing."""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
import uvloop

from hypercore.aio.net import recvmmsg
from hypercore.aio.net import udp_socket as udp_module
from hypercore.aio.net.udp_socket import FLUSH_SECONDS, MAX_STREAMS, Address, Endpoint, UdpSocket
from hypercore.udx.packet import FLAG_DATA, Packet, RawPacket

IP_RECVTTL = 12  # Linux; the socket module of 3.11 does not name it
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def run(main: Coroutine[Any, Any, None], loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(asyncio.wait_for(main, 20))


class Inbox:
    """Collects messages and lets a test wait for so many of them."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, Address, UdpSocket]] = []
        self._wanted = 0
        self._done = asyncio.Event()

    def __call__(self, data: bytes, address: Address, udp: UdpSocket) -> None:
        self.messages.append((data, address, udp))
        if len(self.messages) >= self._wanted:
            self._done.set()

    async def wait(self, count: int) -> list[bytes]:
        self._wanted = count
        if len(self.messages) < count:
            self._done.clear()
            await self._done.wait()
        return [data for data, _, _ in self.messages]


def test_sending_of_many_streams_is_spread_over_turns_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand that may send at once would hold up everything else for as long as they all take."""
    flushed: list[int] = []
    clock = [100.0]
    monkeypatch.setattr(udp_module, "monotonic", lambda: clock[0])

    class Stream:
        def __init__(self, number: int) -> None:
            self.number = number

        def flush(self) -> None:
            flushed.append(self.number)
            clock[0] += FLUSH_SECONDS / 10
            if self.number == 7:
                endpoint.flush_soon(self)  # it has more
                raise RuntimeError("broken")

    async def main() -> None:
        nonlocal endpoint
        errors: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        endpoint = Endpoint()
        for number in range(35):
            endpoint.flush_soon(Stream(number))
        counts = []
        while clock[0] > 0 and len(flushed) < 36:
            before = len(flushed)
            await asyncio.sleep(0)
            counts.append(len(flushed) - before)
        assert max(counts) <= 11
        assert flushed[:36] == [*range(35), 7]
        assert errors

    endpoint: Endpoint
    asyncio.run(asyncio.wait_for(main(), 20))


class Sink:
    """A stream as far as the endpoint can see."""

    def __init__(self, udp: UdpSocket | None, peer: Address | None = None, *, accept: bool = False) -> None:
        self.socket = udp
        self.source = b"" if peer is None else recvmmsg.source_of(peer)
        self.accept = accept
        self.asked: list[Address] = []
        self.packets: list[tuple[int, bytes]] = []
        self.batches = 0
        self.abandoned = False
        self.arrived = asyncio.Event()

    def accepts(self, udp: UdpSocket, address: Address) -> bool:
        self.asked.append(address)
        return self.accept

    def receive_packets(self, packets: list[RawPacket], udp: UdpSocket) -> None:
        self.batches += 1
        self.packets += [(header[3], bytes(payload)) for header, payload in packets]
        self.arrived.set()

    def receive_strays(self, packets: list[RawPacket], udp: UdpSocket, address: Address) -> None:
        self.receive_packets(packets, udp)

    def abandon(self) -> None:
        self.abandoned = True


def data_packet(stream_id: int, seq: int, payload: bytes) -> bytes:
    return Packet(FLAG_DATA, stream_id, 0, seq, 0, payload).encode()


@pytest.mark.parametrize("loop_factory", LOOPS)
@pytest.mark.parametrize(
    ("segmentation", "coalescing", "mmsg"), list(itertools.product([True, False], repeat=3))
)
def test_trains_of_datagrams_arrive_whole_with_and_without_kernel_help(
    loop_factory: Any, segmentation: bool, coalescing: bool, mmsg: bool
) -> None:
    async def main() -> None:
        sender = Endpoint(segmentation=segmentation)
        inbox = Inbox()
        receiver = Endpoint(coalescing=coalescing, mmsg=mmsg, on_message=inbox)
        source, target = sender.bind("127.0.0.1"), receiver.bind("127.0.0.1")
        expected = []
        for count in (1, 2, 54, 7):
            buffers: list[bytes] = []
            for index in range(count):
                buffers += [b"head" + bytes([count, index]), bytes(1166 if index < count - 1 else 100)]
            assert source.send_segments(buffers, 1172, count, target.local_address) == count
            expected += [buffers[i] + buffers[i + 1] for i in range(0, len(buffers), 2)]
        assert await inbox.wait(len(expected)) == expected
        assert {address for _, address, _ in inbox.messages} == {source.local_address}
        assert {udp for _, _, udp in inbox.messages} == {target}
        size = sum(map(len, expected))
        assert (sender.traffic.packets_sent, sender.traffic.bytes_sent) == (64, size)
        assert (receiver.traffic.packets_received, receiver.bytes_received) == (64, size)
        sender.close()
        receiver.close()

    run(main(), loop_factory)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO, errno.EOPNOTSUPP])
def test_a_kernel_that_refuses_segmentation_gets_single_datagrams(code: int) -> None:
    async def main() -> None:
        endpoint = Endpoint()
        inbox = Inbox()
        source, target = endpoint.bind("127.0.0.1"), endpoint.bind("127.0.0.1", on_message=inbox)
        real = source._sock
        source._sock = Refusing(real, code)  # type: ignore[assignment]
        assert source.send_segments([b"a1", b"a2", b"b1", b"b2"], 4, 2, target.local_address) == 2
        assert await inbox.wait(2) == [b"a1a2", b"b1b2"]
        assert not source.segmentation
        source._sock = real
        endpoint.close()

    run(main(), asyncio.new_event_loop)


class Refusing:
    """A socket that refuses control messages, and otherwise is the one it wraps."""

    def __init__(self, sock: socket.socket, code: int) -> None:
        self._sock = sock
        self._code = code

    def sendmsg(self, buffers: Sequence[bytes], control: Sequence[Any] = (), *rest: Any) -> int:
        if control:
            raise OSError(self._code, "refused")
        return self._sock.sendmsg(buffers, control, *rest)


def test_a_full_kernel_buffer_is_reported_and_waited_for() -> None:
    async def main() -> None:
        endpoint = Endpoint()
        source, target = endpoint.bind("127.0.0.1"), endpoint.bind("127.0.0.1")
        real, full = source._sock, Full()
        source._sock = full  # type: ignore[assignment]
        for segmentation in (True, False):
            source.segmentation = segmentation
            assert source.send_segments([b"a", b"b"], 1, 2, target.local_address) == 0
        full.room = 1
        assert source.send_segments([b"a", b"b"], 1, 2, target.local_address) == 1
        assert not source.send(b"a", target.local_address)
        source._sock = real
        called = asyncio.Event()
        source.call_when_writable(called.set)
        await called.wait()
        endpoint.close()

    run(main(), asyncio.new_event_loop)


class Full:
    room = 0

    def sendmsg(self, *_: Any) -> int:
        if not self.room:
            raise BlockingIOError
        self.room -= 1
        return 1

    sendto = sendmsg


@pytest.mark.parametrize("mmsg", [True, False])
def test_packets_reach_the_stream_they_name_and_the_rest_the_message_handler(mmsg: bool) -> None:
    async def main() -> None:
        inbox = Inbox()
        endpoint = Endpoint(mmsg=mmsg, on_message=inbox)
        source, target, other = (endpoint.bind("127.0.0.1") for _ in range(3))
        peer = source.local_address
        own, second, other_peer = Sink(target, peer), Sink(target, peer), Sink(other, peer)
        welcome = Sink(None, accept=True)
        for local_id, sink in ((7, own), (8, second), (9, other_peer), (10, welcome)):
            endpoint.register(local_id, sink)
        odd = [
            b"",
            b"\0",
            b"\x03 a request of the DHT",
            data_packet(7, 1, b"")[:19],
            data_packet(99, 1, b"for nobody"),
            b"\xff\x02" + data_packet(7, 1, b"of another version")[2:],
        ]
        for datagram in (data_packet(7, 1, b"one"), data_packet(8, 1, b"two"), *odd):
            source.send(datagram, target.local_address)
        for datagram in (data_packet(9, 1, b"x"), data_packet(10, 1, b"three"), data_packet(7, 2, b"four")):
            source.send(datagram, target.local_address)
        source.send(b"last", target.local_address)
        assert await inbox.wait(6) == [*odd[1:], b"last"]
        assert own.packets == [(1, b"one"), (2, b"four")]
        assert second.packets == [(1, b"two")]
        assert (other_peer.packets, other_peer.asked) == ([], [source.local_address])
        assert (welcome.packets, welcome.asked) == ([(1, b"three")], [source.local_address])
        endpoint.unregister(7)
        source.send(data_packet(7, 3, b"late"), target.local_address)
        assert len(await inbox.wait(7)) == 7
        endpoint.close()
        assert (own.abandoned, second.abandoned) == (False, True)

    run(main(), asyncio.new_event_loop)


def test_a_socket_may_have_a_message_handler_of_its_own() -> None:
    async def main() -> None:
        shared, own = Inbox(), Inbox()
        endpoint = Endpoint(on_message=shared)
        first, second = endpoint.bind("127.0.0.1"), endpoint.bind("127.0.0.1", on_message=own)
        first.send(b"to the first", first.local_address)
        first.send(b"to the second", second.local_address)
        assert await shared.wait(1) == [b"to the first"]
        assert await own.wait(1) == [b"to the second"]
        endpoint.close()

    run(main(), asyncio.new_event_loop)


def test_datagrams_that_the_kernel_had_no_room_for_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(udp_module, "RECEIVE_BUFFER_BYTES", 10_000)
        endpoint = Endpoint()
        source, target = endpoint.bind("127.0.0.1"), endpoint.bind("127.0.0.1")
        assert target.receive_capacity < 20_000
        assert target.rx_dropped() == 0
        for _ in range(100):
            source.send(bytes(1000), target.local_address)
        assert 50 < target.rx_dropped() < 100
        endpoint.close()
        assert target.rx_dropped() == 0

    run(main(), asyncio.new_event_loop)


def test_ttl_is_for_one_datagram_only() -> None:
    async def main() -> None:
        endpoint = Endpoint()
        source = endpoint.bind("127.0.0.1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.bind(("127.0.0.1", 0))
            plain.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
            plain.settimeout(5)
            seen = []
            for ttl in (5, None, 64):
                assert source.send(b"\0", plain.getsockname(), ttl)
                _, control, _, _ = plain.recvmsg(10, 100)
                seen.append(control[0][2][0])
        default = seen[1]
        assert seen == [5, default, 64]
        assert default > 5
        endpoint.close()

    run(main(), asyncio.new_event_loop)


def test_a_closed_socket_sends_nothing_and_frees_its_port() -> None:
    async def main() -> None:
        endpoint = Endpoint()
        udp = endpoint.bind("127.0.0.1")
        host, port = udp.local_address
        with pytest.raises(OSError, match="in use"):
            endpoint.bind(host, port)
        udp.call_when_writable(lambda: None)
        udp.close()
        udp.close()
        assert not udp.send(b"x", (host, port))
        assert udp.send_segments([b"x"], 1, 1, (host, port)) == 1
        udp.call_when_writable(lambda: None)
        assert endpoint.sockets == []
        again = endpoint.bind(host, port)
        assert endpoint.sockets == [again]
        endpoint.close()

    run(main(), asyncio.new_event_loop)


def test_an_unreachable_address_is_a_lost_datagram() -> None:
    async def main() -> None:
        endpoint = Endpoint()
        udp = endpoint.bind("127.0.0.1")
        assert not udp.send(b"x", ("255.255.255.255", 9))
        assert not udp.send(bytes(70_000), udp.local_address)
        endpoint.close()

    run(main(), asyncio.new_event_loop)


def test_streams_of_an_endpoint_are_bounded() -> None:
    async def main() -> None:
        endpoint = Endpoint()
        sink = Sink(None)
        for local_id in range(MAX_STREAMS - 1):
            endpoint.register(local_id, sink)
        endpoint.register(endpoint.allocate_id(), sink)
        with pytest.raises(OSError, match="too many"):
            endpoint.allocate_id()

    run(main(), asyncio.new_event_loop)


def test_a_system_without_recvmmsg_is_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise OSError("no C library")

    assert isinstance(recvmmsg.new_reader(), recvmmsg.MmsgReader)
    monkeypatch.setattr(recvmmsg, "_load", missing)
    assert isinstance(recvmmsg.new_reader(), recvmmsg.RecvmsgReader)
    monkeypatch.undo()
    assert isinstance(recvmmsg.new_reader(mmsg=False), recvmmsg.RecvmsgReader)
