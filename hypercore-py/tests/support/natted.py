"""A NAT in front of a node of ours: what it sends leaves from a public address, and only those who were sent
something before get through to it.
"""

import asyncio
import socket
from contextlib import asynccontextmanager
from time import monotonic

from hypercore.aio.dht.node import DhtNode
from hypercore.dht.address import Address, parse_bootstrap
from hypercore.udx.packet import HEADER_BYTES, MAGIC_AND_VERSION, header_struct

ENOUGH_HOPS = 10
"""Datagrams with a smaller time to live open the NAT, and die on the way."""


@asynccontextmanager
async def natted_node(bootstrap, public_host):
    """A node of ours behind a NAT of its own; gives the NAT."""
    node = DhtNode(bootstrap=[], host="127.0.0.1", firewalled=True)
    await node.start()
    nat = Nat(node, public_host)
    try:
        for text in bootstrap:
            spelled = parse_bootstrap(text)
            node.core.bootstrap.append(Address(spelled.address, spelled.port))
        node.core.bootstrapped = False
        node.core.start_bootstrap(monotonic())
        node.flush()
        while not node.core.bootstrapped:
            await asyncio.sleep(0.01)
        yield nat
    finally:
        await node.close()
        nat.close()


class Nat:
    """One public port for all that the node sends (a CONSISTENT NAT), filtering by address and port.

    Wrapped around a started node, whose own socket is not used any more.
    """

    def __init__(self, node, public_host):
        self.node = node
        self.opened = set()
        """Addresses whose datagrams are let in."""
        self.refused = []
        """Addresses whose datagrams were not."""
        self._bind(public_host)
        node.socket.send = self.send
        node.socket.send_segments = self.send_segments

    def _bind(self, public_host):
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._sock.bind((public_host, 0))
        self.public = Address(*self._sock.getsockname())
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._on_readable)

    def rebind(self):
        """The router restarts: another public port, and no host may send to it any more."""
        host = self.public.host
        self.close()
        self.opened.clear()
        self._bind(host)

    def close(self):
        asyncio.get_running_loop().remove_reader(self._sock.fileno())
        self._sock.close()

    def send(self, data, address, ttl=None):
        self.opened.add(Address(*address))
        if ttl is None or ttl >= ENOUGH_HOPS:
            self._sock.sendto(data, address)
        return True

    def send_segments(self, buffers, segment_size, count, address):
        step = len(buffers) // count
        for at in range(0, len(buffers), step):
            self.send(b"".join(buffers[at : at + step]), address)
        return count

    def _on_readable(self):
        while True:
            try:
                data, source = self._sock.recvfrom(65536)
            except BlockingIOError:
                return
            if Address(*source) in self.opened:
                self._deliver(data, source)
            else:
                self.refused.append(Address(*source))

    def _deliver(self, data, source):
        """As `Endpoint.read_batch` hands out what it reads."""
        endpoint, udp = self.node.endpoint, self.node.socket
        if len(data) >= HEADER_BYTES:
            header = header_struct.unpack_from(data)
            stream = endpoint._streams.get(header[1])
            if header[0] & 0xFFFF == MAGIC_AND_VERSION and stream is not None:
                if stream.socket is udp or stream.accepts(udp, source):
                    stream.receive_packets([(header, data[HEADER_BYTES:])], udp)
                return
        endpoint._on_message(data, source, udp)
