"""What a connection may hold, and for how long it may stay without a purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import chain, repeat
from unittest.mock import Mock

import pytest

from hypercore.aio.cores import link as link_module
from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.cores.holdings import Holdings
from hypercore.aio.cores.turns import TURN_SECONDS, Turns
from hypercore.aio.net.secret_connection import SecretConnection
from hypercore.codec import Reader
from hypercore.connection import MAX_EARLY_FRAME_BYTES
from hypercore.core import memory_store
from hypercore.errors import RemoteProtocolError
from hypercore.mux import Channel, CloseReason, Muxer
from hypercore.testing.connections import Ends, connected, end_keys
from hypercore.testing.cores import make_writer, sample_blocks
from support.swarms import until


def connections(count: int) -> AbstractAsyncContextManager[list[Ends]]:
    return connected([end_keys(number) for number in range(count)])


def ended(connection: SecretConnection) -> asyncio.Future[Exception | None]:
    future: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    connection.on_close = future.set_result
    return future


def announce(connection: SecretConnection, size: int, sent: int) -> None:
    """Begin a frame of `size` bytes and send `sent` of them."""
    connection.stream.write(size.to_bytes(3, "little") + bytes(sent))


def test_a_long_frame_is_refused_before_a_channel_is_open() -> None:
    async def main() -> None:
        async with asyncio.timeout(20), connections(2) as pairs, Corestore(memory_store()) as cores:
            ends = []
            for client, server in pairs:
                cores.replicate(server)
                client.on_message = lambda message: None
                ends.append(ended(client))
            announce(pairs[0][0], MAX_EARLY_FRAME_BYTES + 1, 10)
            announce(pairs[1][0], MAX_EARLY_FRAME_BYTES, 10)
            await ends[0]
            assert isinstance(pairs[0][1].error, RemoteProtocolError)
            await asyncio.sleep(0.2)
            assert not pairs[1][1].closed

    asyncio.run(main())


@pytest.mark.slow
def test_incomplete_frames_are_bounded_over_all_connections() -> None:
    """Who holds much for long goes; a download beside it does not notice."""

    async def main() -> None:
        made = make_writer(sample_blocks(50))
        async with asyncio.timeout(20), connections(11) as pairs:  # noqa: SIM117
            async with Corestore(made.store) as cores, Corestore(memory_store()) as reader:
                cores.hub.incoming.limit = 1_000_000
                for _, server in pairs:
                    cores.replicate(server)
                clients = [client for client, _ in pairs[:10]]
                for client in clients:
                    client.on_message = lambda message: None
                    announce(client, 200_000, 190_000)
                while cores.links > 6:
                    await asyncio.sleep(0.01)
                assert cores.hub.incoming.held <= 1_000_000
                copy = reader.get(made.core.key)
                reader.replicate(pairs[10][0])
                copy.download(True)
                await copy.wait_until(lambda: copy.core.length == 50 and copy.core.complete)
                assert not pairs[10][1].closed
                assert cores.links >= 3

    asyncio.run(main())


def test_a_batch_counts_as_received_until_all_of_it_is_processed() -> None:
    muxer = Muxer(is_initiator=True, handshake_hash=bytes(64))
    batch = b"\0\0\1" + b"\2\0\0" * 1000  # entries of a channel that is not open
    connection, incoming = Mock(held_bytes=7, bytes_in=5000), Holdings(10**6, grace=0.0)
    received = link_module.Received(Mock(connection=connection, muxer=muxer, hub=Mock(incoming=incoming)))
    muxer.begin(batch, 0.0)
    assert not muxer.go_on(0.0, lambda: True)
    received.poll()
    assert incoming.held == 7 + len(batch)
    assert muxer.go_on(0.0)
    received.poll()
    assert incoming.held == 7


def test_a_connection_on_which_no_channel_opens_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        made = make_writer(sample_blocks(3))
        async with asyncio.timeout(20), connections(2) as pairs:  # noqa: SIM117
            async with Corestore(made.store) as cores, Corestore(memory_store()) as reader:
                used = cores.replicate(pairs[0][1])
                copy = reader.get(made.core.key)
                reader.replicate(pairs[0][0])
                await copy.wait_until(lambda: copy.core.length == 3)
                monkeypatch.setattr(link_module, "UNUSED_SECONDS", 0.3)
                cores.replicate(pairs[1][1])
                idle = pairs[1][0]
                idle.on_message = lambda message: None
                await ended(idle)
                used._check_used()  # its time is over, too
                assert not pairs[0][1].closed
                assert cores.links == 1

    asyncio.run(main())


def test_what_waits_to_be_sent_is_bounded_over_all_connections() -> None:
    """Peers that ask for everything and read nothing: no more is made for them, and the others are served."""

    async def main() -> None:
        made = make_writer([bytes([n]) * 200_000 for n in range(40)])
        # Each that reads nothing takes 4 MiB before it shows that: three of them are enough
        async with asyncio.timeout(40), connections(4) as pairs, Corestore(made.store) as cores:
            limit = cores.hub.outgoing.limit = 1_200_000
            stores = [Corestore(memory_store()) for _ in pairs]
            copies = []
            for number, (store, (client, server)) in enumerate(zip(stores, pairs, strict=True)):
                cores.replicate(server)
                copy = store.get(made.core.key)
                link = store.replicate(client)
                copy.download(True)
                copies.append(copy)
                if number < 3:
                    await copy.wait_until(lambda copy=copy: copy.core.length > 0)
                    link.hold(True)
            await copies[3].wait_until(lambda: copies[3].core.complete and copies[3].core.length == 40)
            # The budget is looked at between two answers: each connection may be one block above it
            assert cores.hub.outgoing.held < limit + len(pairs) * 200_000
            for store in stores:
                await store.close()

    asyncio.run(main())


def test_the_channels_of_an_ended_connection_are_closed_in_turns() -> None:
    """Work of one turn of the loop is counted by a clock that moves only when a channel is closed."""
    loop, done = Scheduled(), list[object]()

    class Closing(Echo):
        def channel_closed(self, reason: CloseReason, now: float) -> None:
            loop.now += 0.0001
            done.append(reason)

    def rest() -> Iterator[None]:
        done.append("rest")
        yield

    hub = link_module.Hub(loop)
    hub.turns = Turns(loop, clock=lambda: loop.now, work_clock=lambda: loop.now)
    connection = Mock(is_initiator=True, handshake_hash=bytes(64), remote_public_key=bytes(32), held_bytes=0)
    link = link_module.Link(connection, loop=loop, on_close=lambda link, error: rest(), hub=hub)
    for number in range(500):
        link.muxer.create_channel("test", b"%d" % number, Closing()).open(b"", 0.0)
    connection.on_close(None)
    portions = [len(done)]
    while loop.calls:
        loop.calls.pop(0)()
        portions.append(len(done) - sum(portions))
    assert done == [*500 * [CloseReason.DISCONNECTED], "rest"]
    assert max(portions) <= round(TURN_SECONDS / 0.0001) + 1


def test_a_core_keeps_nothing_of_an_ended_connection() -> None:
    """Nor do cores that had no channel on it, and the connection counts no more."""

    async def main() -> None:
        async with asyncio.timeout(20), connections(1) as pairs:  # noqa: SIM117
            async with Corestore(memory_store()) as cores, Corestore(memory_store()) as other:
                opened = [cores.get(bytes([number]) * 32) for number in range(100)]
                link = cores.replicate(pairs[0][1])
                other.replicate(pairs[0][0])
                await until(lambda: all(core.declined for core in opened))
                pairs[0][0].destroy()
                await until(lambda: link.muxer not in cores._links)
                assert not any(core.declined for core in opened)

    asyncio.run(main())


class Scheduled:
    """A fake event loop: it collects callbacks, and the test or a timer moves its time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[Callable[[], object]] = []

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.calls.append(callback)

    def call_later(self, delay: float, callback: Callable[[], object]) -> None:
        def later() -> None:
            self.now += delay
            callback()

        self.calls.append(later)


class Echo:
    """Answers each message of a channel."""

    channel: Channel

    def channel_opened(self, handshake: Reader, now: float) -> None: ...

    def channel_message(self, type_id: int, message: Reader, now: float) -> None:
        self.channel.send(type_id, message.rest())

    def channel_closed(self, reason: CloseReason, now: float) -> None: ...

    def channel_flush(self, now: float) -> None: ...

    def channel_writable(self, now: float) -> None: ...


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
def test_output_is_gathered_for_a_while_if_there_is_more_input(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "GATHER_SECONDS", seconds)
    loop, connection = Mock(), Mock(max_frame_bytes=0)
    loop.time.return_value = 10_000.0
    connection.configure_mock(
        is_initiator=True, handshake_hash=bytes(64), remote_public_key=bytes(32), rtt=None, writable=True
    )
    connection.configure_mock(closed=False, held_bytes=0, unsent_bytes=0, bytes_in=0, bytes_out=0)
    sent: list[bytes] = []
    connection.send_many.side_effect = sent.extend
    link = link_module.Link(connection, loop=loop, on_close=lambda link, error: None)
    there = Muxer(is_initiator=False, handshake_hash=bytes(64))
    for muxer in (link.muxer, there):
        echo = Echo()
        echo.channel = muxer.create_channel("test", None, echo)
        echo.channel.open(b"", 0.0)
    there_channel = echo.channel
    for _ in range(5):
        there_channel.send(0, b"hello")
    connection.read.side_effect = [*there.take_output(0.0), None]
    for _ in range(20):
        if not link.work(chain([False], repeat(True)).__next__):  # a slice is over after two entries
            break
    assert link.muxer.queued_bytes == 0
    assert len(sent) == (2 if seconds else 4)
