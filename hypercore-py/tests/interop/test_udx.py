"""UDX and secret streams of ours against the official udx-native and secret-stream on loopback."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import pytest
import uvloop

from hypercore.aio.net.handshake import secure
from hypercore.aio.net.secret_connection import SecretConnection
from hypercore.aio.net.udp_socket import Endpoint, UdpSocket
from hypercore.aio.net.udx_transport import AcceptHook, StreamTransport
from hypercore.crypto import KeyPair
from hypercore.secretstream import UnorderedBox
from support.aio_streams import listen
from support.official_packages import official_packages
from support.official_udx import BadNetwork, Official, block, content_hash

pytestmark = pytest.mark.interop

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
BLOCKS, SIZE = 120, 65536


@pytest.fixture(autouse=True)
def _official_packages() -> None:
    official_packages("udx-native")


def run(
    main: Coroutine[Any, Any, None],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(asyncio.wait_for(main, 90))


class Ours:
    """Our stream, with what happened to it."""

    def __init__(self, endpoint: Endpoint, stream: StreamTransport) -> None:
        self.endpoint = endpoint
        self.stream = stream
        self.hash = sha256()
        self.received = 0
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.closed: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def collect(self) -> None:
        stream = self.stream
        listen(
            stream,
            on_data=self.take_all,
            on_message=self.messages.put_nowait,
            on_end=self.ended.set,
            on_close=self.closed.set_result,
        )

    def listen(self, connection: SecretConnection) -> None:
        connection.on_message = self.take
        connection.on_close = self.closed.set_result

    def take_all(self, chunks: list[Any]) -> None:
        for chunk in chunks:
            self.take(chunk)

    def take(self, data: bytes) -> None:
        self.hash.update(data)
        self.received += len(data)

    async def send(self, write: Callable[[bytes], bool], target: Any, blocks: int, size: int) -> None:
        drained = asyncio.Event()
        if isinstance(target, StreamTransport):
            listen(target, on_drain=drained.set)
        else:
            target.on_drain = drained.set
        for number in range(blocks):
            if not write(block(number, size)):
                drained.clear()
                await drained.wait()


@asynccontextmanager
async def joined(
    official: Official,
    *,
    network: BadNetwork | None = None,
    connect: bool = True,
    accept: AcceptHook | None = None,
    **options: Any,
) -> AsyncIterator[Ours]:
    """Our stream and the official one, connected."""
    endpoint = Endpoint(**options)
    udp = endpoint.bind("127.0.0.1")
    ours = Ours(endpoint, StreamTransport(endpoint, accept=accept))
    ours.collect()
    there, back = official.address, udp.local_address
    if network is not None:
        network.ends = (there, back)
        there = back = network.address
    official.send("connect", port=back[1], id=ours.stream.local_id)
    if connect:
        ours.stream.connect(official.id, there, udp)
    try:
        yield ours
    finally:
        endpoint.close()
        if network is not None:
            network.close()
        await official.stop()


@pytest.mark.parametrize("loop_factory", LOOPS)
@pytest.mark.parametrize("kernel_help", [True, False])
def test_the_official_stream_gets_every_byte_of_ours(loop_factory: Any, kernel_help: bool) -> None:
    async def main() -> None:
        official = await Official.start(endBack=True)
        options = {"segmentation": kernel_help, "coalescing": kernel_help, "mmsg": kernel_help}
        async with joined(official, **options) as ours:
            await ours.send(ours.stream.write, ours.stream, BLOCKS, SIZE)
            ours.stream.end()
            end = await official.wait("end")
            assert end["bytes"] == BLOCKS * SIZE
            assert end["hash"] == content_hash(BLOCKS, SIZE)
            assert await ours.closed is None
            await official.wait("close")

    run(main(), loop_factory)


@pytest.mark.parametrize("loop_factory", LOOPS)
@pytest.mark.parametrize("kernel_help", [True, False])
def test_ours_gets_every_byte_of_the_official_stream(loop_factory: Any, kernel_help: bool) -> None:
    async def main() -> None:
        official = await Official.start()
        options = {"segmentation": kernel_help, "coalescing": kernel_help, "mmsg": kernel_help}
        async with joined(official, **options) as ours:
            official.send("send", blocks=BLOCKS, size=SIZE, end=True)
            await ours.ended.wait()
            assert ours.received == BLOCKS * SIZE
            assert ours.hash.hexdigest() == content_hash(BLOCKS, SIZE)
            ours.stream.end()
            assert await ours.closed is None
            assert (await official.wait("close"))["received"] == 0

    run(main(), loop_factory)


@pytest.mark.parametrize(("loss", "disorder"), [(0.02, 0.0), (0.0, 0.05), (0.05, 0.05)])
def test_both_directions_survive_a_bad_network(loss: float, disorder: float) -> None:
    async def main() -> None:
        network = await BadNetwork.start(7, loss=loss, disorder=disorder)
        official = await Official.start(endBack=True)
        async with joined(official, network=network) as ours:
            official.send("send", blocks=30, size=SIZE)
            await ours.send(ours.stream.write, ours.stream, 40, SIZE)
            await official.wait("written")  # it ends its side when we end ours
            ours.stream.end()
            end = await official.wait("end")
            assert (end["bytes"], end["hash"]) == (40 * SIZE, content_hash(40, SIZE))
            await ours.ended.wait()
            assert ours.received == 30 * SIZE
            assert ours.hash.hexdigest() == content_hash(30, SIZE)
            assert await ours.closed is None
            await official.wait("close")
            assert (network.dropped > 0) == (loss > 0)

    run(main())


@pytest.mark.parametrize("initiator", [True, False])
def test_secret_streams_agree_and_echo_both_ways_at_once(initiator: bool) -> None:
    async def main() -> None:
        official = await Official.start(secure=True, initiator=not initiator, echo=True)
        async with joined(official) as ours:
            key_pair = KeyPair.from_seed(os.urandom(32))
            connection = await secure(ours.stream, is_initiator=initiator, key_pair=key_pair)
            ours.closed = asyncio.get_running_loop().create_future()
            ours.listen(connection)
            opened = await official.wait("open")
            assert opened["remotePublicKey"] == key_pair.public_key.hex()
            assert opened["hash"] == connection.handshake_hash.hex()
            for number in range(60):
                connection.send(block(number, SIZE))
            connection.send_many([block(number, 5) for number in range(1000)])
            connection.close()
            assert await ours.closed is None
            expected = sha256(b"".join(block(n, SIZE) for n in range(60)))
            expected.update(b"".join(block(n, 5) for n in range(1000)))
            assert ours.received == 60 * SIZE + 5000
            assert ours.hash.hexdigest() == expected.hexdigest()
            assert (await official.wait("end"))["hash"] == expected.hexdigest()

    run(main())


def test_keep_alives_of_the_secret_stream_are_understood_both_ways() -> None:
    async def main() -> None:
        official = await Official.start(secure=True, initiator=True, keepAlive=50)
        async with joined(official) as ours:
            key_pair = KeyPair.from_seed(os.urandom(32))
            connection = await secure(ours.stream, is_initiator=False, key_pair=key_pair, keep_alive=0.05)
            ours.closed = asyncio.get_running_loop().create_future()
            ours.listen(connection)
            await official.wait("open")
            before = connection.bytes_in
            while connection.bytes_in < before + 100 or connection.bytes_out < before + 100:
                await asyncio.sleep(0.02)
            assert (connection.messages_in, connection.messages_out) == (0, 0)
            official.send("stats")
            assert (await official.wait("stats"))["received"] == 0
            official.send("end")
            assert await ours.closed is None

    run(main())


def test_messages_beside_the_stream_arrive_both_ways() -> None:
    async def main() -> None:
        official = await Official.start()
        async with joined(official) as ours:
            official.send("message", hex="")
            official.send("message", hex=b"hello".hex())
            assert {await ours.messages.get(), await ours.messages.get()} == {b"", b"hello"}
            ours.stream.send_message(b"from us")
            assert (await official.wait("message"))["hex"] == b"from us".hex()

    run(main())


def test_sealed_messages_beside_the_secret_stream_are_understood_both_ways() -> None:
    async def main() -> None:
        official = await Official.start(secure=True, initiator=True)
        async with joined(official) as ours:
            connection = await secure(
                ours.stream, is_initiator=False, key_pair=KeyPair.from_seed(os.urandom(32))
            )
            connection.on_message = ours.take
            listen(ours.stream, on_message=ours.messages.put_nowait)
            await official.wait("open")
            box = UnorderedBox(connection.result, os.urandom)
            ours.stream.send_message(box.seal(b"sealed by us"))
            assert (await official.wait("message"))["hex"] == b"sealed by us".hex()
            official.send("message", hex=b"sealed by them".hex())
            assert box.open(await ours.messages.get()) == b"sealed by them"

    run(main())


def test_a_destroyed_stream_resets_the_other_side() -> None:
    async def ours_first() -> None:
        official = await Official.start()
        async with joined(official) as ours:
            ours.stream.write(b"x")
            official.send("send", blocks=1, size=10)
            await official.wait("written")
            ours.stream.destroy()
            assert await ours.closed is None
            assert (await official.wait("error"))["code"] == "ECONNRESET"
            await official.wait("close")

    async def theirs_first() -> None:
        official = await Official.start()
        async with joined(official) as ours:
            ours.stream.write(b"x")
            official.send("destroy")
            error = await ours.closed
            assert getattr(error, "code", None) == "ECONNRESET"

    run(ours_first())
    run(theirs_first())


def test_heartbeats_are_answered_both_ways() -> None:
    async def main() -> None:
        official = await Official.start(keepAlive=60)
        endpoint = Endpoint()
        udp = endpoint.bind("127.0.0.1")
        ours = Ours(endpoint, StreamTransport(endpoint, heartbeat=0.06))
        ours.collect()
        official.send("connect", port=udp.local_address[1], id=ours.stream.local_id)
        ours.stream.connect(official.id, official.address, udp)
        await asyncio.sleep(0.5)
        assert not ours.closed.done()
        official.send("send", blocks=1, size=3, end=True)
        await ours.ended.wait()
        assert ours.received == 3
        endpoint.close()
        await official.stop()

    run(main())


def test_data_that_comes_before_we_connect_is_taken_from_an_address_that_we_accept() -> None:
    async def main() -> None:
        official = await Official.start(endBack=True)
        asked = []

        def accept(udp: UdpSocket, address: tuple[str, int]) -> bool:
            asked.append(address)
            ours.stream.connect(official.id, address, udp)
            return True

        async with joined(official, connect=False, accept=accept) as ours:
            official.send("send", blocks=3, size=SIZE)
            ours.stream.write(b"answer")
            ours.stream.end()
            end = await official.wait("end")
            assert end["bytes"] == 6
            await ours.ended.wait()
            assert ours.hash.hexdigest() == content_hash(3, SIZE)
            assert asked == [official.address]

    run(main())


def test_a_reader_that_pauses_holds_the_official_writer_back_and_loses_nothing() -> None:
    async def main() -> None:
        official = await Official.start()
        async with joined(official) as ours:
            ours.stream.pause_reading()
            official.send("send", blocks=200, size=SIZE, end=True)
            await asyncio.sleep(1.0)
            assert ours.received == 0
            assert ours.stream.core._incoming.held_bytes <= 4 << 20
            ours.stream.resume_reading()
            await ours.ended.wait()
            assert ours.hash.hexdigest() == content_hash(200, SIZE)

    run(main())
