"""Messages of sockets: delivered at once while there is time, else in later turns of the loop."""

from __future__ import annotations

import asyncio

import pytest

from hypercore.aio.net import message_queue
from hypercore.aio.net.message_queue import MAX_WAITING, MAX_WAITING_BYTES, TURN_SECONDS, MessageQueue
from hypercore.aio.net.udp_socket import Address, Endpoint, UdpSocket

FROM: Address = ("127.0.0.1", 1)


class Work:
    """Takes a tenth of a turn for each message."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[bytes] = []
        self._clock = 100.0
        monkeypatch.setattr(message_queue, "monotonic", lambda: self._clock)

    def __call__(self, data: bytes, address: Address, socket: object) -> None:
        self.done.append(data)
        self._clock += TURN_SECONDS / 10

    async def turns(self, count: int) -> list[int]:
        """Messages of each turn until so many are done."""
        found: list[int] = []
        while len(self.done) < count:
            before = len(self.done)
            await asyncio.sleep(0)
            found.append(len(self.done) - before)
        return found


def test_messages_beyond_the_time_of_a_turn_wait_for_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        work = Work(monkeypatch)
        queue: MessageQueue[None] = MessageQueue(asyncio.get_running_loop(), work)
        sent = [b"%d" % number for number in range(100)]
        for message in sent:
            queue.put(message, FROM, None)
        assert 10 <= len(work.done) <= 11, "at once"
        assert max(await work.turns(100)) <= 11
        assert work.done == sent and queue.lost == 0
        queue.put(b"later", FROM, None)
        assert work.done[-1] == b"later", "at once again"

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize(("size", "room"), [(1, MAX_WAITING), (60_000, MAX_WAITING_BYTES // 60_000)])
def test_messages_that_wait_are_bounded_by_number_and_by_bytes(
    monkeypatch: pytest.MonkeyPatch, size: int, room: int
) -> None:
    async def main() -> None:
        work = Work(monkeypatch)
        queue: MessageQueue[None] = MessageQueue(asyncio.get_running_loop(), work)
        for _ in range(room + 100):
            queue.put(bytes(size), FROM, None)
        at_once = len(work.done)
        assert queue.lost == 100 - at_once
        await work.turns(room + at_once)
        queue.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_batch_of_a_socket_holds_up_no_more_than_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty handshakes in one batch would take sixty times as long as one."""

    async def main() -> None:
        work = Work(monkeypatch)
        endpoint = Endpoint()
        inbox = endpoint.bind("127.0.0.1", on_message=work)
        outbox = endpoint.bind("127.0.0.1")
        for _ in range(60):
            assert outbox.send(b"handshake", inbox.local_address)
        assert max(await work.turns(60)) <= 22, "those of a read, and those that waited"
        endpoint.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_messages_of_a_socket_that_closed_meanwhile_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        work = Work(monkeypatch)
        endpoint = Endpoint()
        closed: list[UdpSocket] = []

        def close_at_once(data: bytes, address: Address, socket: UdpSocket) -> None:
            work(data, address, socket)
            socket.close()
            closed.append(socket)

        inbox = endpoint.bind("127.0.0.1", on_message=close_at_once)
        outbox = endpoint.bind("127.0.0.1")
        for _ in range(30):
            outbox.send(b"message", inbox.local_address)
        while not closed:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(work.done) == 1
        endpoint.close()

    asyncio.run(asyncio.wait_for(main(), 20))
