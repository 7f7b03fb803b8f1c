"""The sockets of a punch through a random NAT: opened by number, closed in time."""

import asyncio
import errno

from hypercore.aio.dht.punch_sockets import PunchSocketPool
from hypercore.aio.net.udp_socket import Endpoint
from hypercore.aio.net.udx_transport import StreamTransport


def run(scene):
    async def play():
        endpoint = Endpoint()
        usual = endpoint.bind("127.0.0.1")
        heard = []
        holes = PunchSocketPool(
            endpoint, usual, lambda hole, source, socket: heard.append((hole, source, socket))
        )
        try:
            await scene(endpoint, usual, holes, heard)
        finally:
            endpoint.close()

    asyncio.run(play())


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def test_every_hole_sends_from_a_port_of_its_own_and_hears_single_bytes_there():
    async def scene(endpoint, usual, holes, heard):
        sources = []
        usual.on_message = lambda data, source, socket: sources.append((data, source))
        for hole in (4, 2, 4):
            holes.send(hole, usual.local_address, None)
        await until(lambda: len(sources) == 3)
        assert len(holes) == 2 and len({source for _, source in sources}) == 2
        assert {data for data, _ in sources} == {b"\0"}
        usual.send(b"two", sources[1][1])
        usual.send(b"\0", sources[1][1])
        await until(lambda: heard)
        [(hole, source, socket)] = heard
        assert (hole, tuple(source)) == (2, usual.local_address)
        assert socket.local_address == sources[1][1]

    run(scene)


def test_the_socket_that_got_through_stays_as_long_as_its_stream():
    async def scene(endpoint, usual, holes, heard):
        for hole in range(10):
            holes.send(hole, usual.local_address, None)
        assert len(endpoint.sockets) == 11
        keep = endpoint.sockets[5]
        holes.close(keep)
        assert endpoint.sockets == [usual, keep] and len(holes) == 0
        stream = StreamTransport(endpoint)
        stream.connect(1, usual.local_address, keep)
        stream.write(b"something")
        await asyncio.sleep(0)
        assert not keep.closed
        stream.destroy()
        endpoint.unregister(stream.local_id)  # as at the end of its lingering
        assert keep.closed and endpoint.sockets == [usual]

    run(scene)


def test_unused_sockets_of_a_punch_are_all_closed():
    async def scene(endpoint, usual, holes, heard):
        for hole in range(3):
            holes.send(hole, usual.local_address, None)
        holes.close()
        assert endpoint.sockets == [usual]

    run(scene)


def test_where_the_system_gives_no_more_sockets_the_others_do(monkeypatch):
    async def scene(endpoint, usual, holes, heard):
        holes.send(0, usual.local_address, None)

        def refuse(host, port, *, on_message):
            raise OSError(errno.EMFILE, "too many open files")

        endpoint.bind = refuse
        holes.send(1, usual.local_address, None)
        holes.send(1, usual.local_address, None)
        assert len(endpoint.sockets) == 2
        holes.close()
        assert endpoint.sockets == [usual]

    run(scene)
