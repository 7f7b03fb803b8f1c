"""Finds out whether other hosts can reach us without a relay.

A socket that has sent no packet can be reached only if every host can reach us. So a fresh one is opened, and
known nodes are asked, from our usual one, to send a packet there (PING_NAT: dht-rpc index.js
`_checkIfFirewalled`, 6.27.0). If it arrives, no NAT or firewall is in the way, and peers behind any NAT can
connect to us.

If it does not, our usual port may still be forwarded by the router. It is tested by nodes that we have never
contacted, which are asked from another socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice

from ...dht.address import Address, is_reserved
from ...dht.constants import Internal
from ...dht.packet import RESPONSE, Request, Response, decode_packet
from ...errors import RemoteProtocolError
from ..net.udp_socket import MessageHandler, UdpSocket
from .context import NodeContext

GUIDES = 8
"""Known nodes that are asked to send a packet to a fresh socket, and to name unknown nodes."""
NEW_HOSTS = 10
"""Unknown nodes asked to send a packet to our port."""
MIN_NEW_HOSTS = 5
"""Unknown nodes needed to decide about our usual port."""
ANSWERS = 3
"""Hosts that must reach us, so that one lying node decides nothing."""
WAIT_SECONDS = 2.0
"""Seconds to wait for answers."""


class ReachabilityTest:
    """One test. Call `heard(data, source)` with datagrams that arrive at the usual port during it."""

    def __init__(self, context: NodeContext, is_new_host: Callable[[str], bool]) -> None:
        self._context = context
        self._port = context.socket.local_address[1]
        self._is_new_host = is_new_host
        self._asked: set[str] = set()
        """Hosts of nodes that were asked to send a packet to the fresh socket."""
        self._new_hosts: dict[str, Address] = {}
        self._through: set[str] = set()
        self._seen_as: set[str] = set()
        self._enough = asyncio.Event()
        self._tid = 0

    def heard(self, data: bytes, source: Address) -> None:
        """A datagram came to our usual port."""
        if data[0] == RESPONSE and self._new_hosts.get(source.host) == source:
            self._got_through(source.host)

    async def run(self) -> bool | None:
        """Whether other hosts reach us. None: too few nodes to ask."""
        guides = [node.address for node in islice(self._context.core.table.latest(), GUIDES)]
        if len({guide.host for guide in guides}) < ANSWERS:
            return None
        return await self._fresh_socket_is_reached(guides) or await self._usual_port_is_reached(guides)

    async def _fresh_socket_is_reached(self, guides: list[Address]) -> bool:
        """Whether a fresh socket is reached, and our public port is the local one."""
        fresh = self._bind(self._on_fresh_message)
        try:
            self._asked = {guide.host for guide in guides}
            port = fresh.local_address[1].to_bytes(2, "little")
            await self._send_all(self._context.socket, guides, Internal.PING_NAT, value=port)
        finally:
            fresh.close()
        return self._enough.is_set() and self._context.core.nat.port == self._port

    async def _usual_port_is_reached(self, guides: list[Address]) -> bool:
        self._through.clear()
        self._enough.clear()
        probe = self._bind(self._on_probe_message)
        try:
            await self._send_all(probe, guides, Internal.FIND_NODE, target=True)
            if len(self._new_hosts) < MIN_NEW_HOSTS or self._seen_as != {self._context.core.nat.host}:
                return False
            port = self._port.to_bytes(2, "little")
            for _ in range(2):
                waiting = [a for host, a in self._new_hosts.items() if host not in self._through]
                await self._send_all(probe, waiting, Internal.PING_NAT, value=port)
                if self._enough.is_set():
                    return True
            return False
        finally:
            probe.close()

    def _bind(self, on_message: MessageHandler) -> UdpSocket:
        host, _ = self._context.socket.local_address
        return self._context.endpoint.bind(host, 0, on_message=on_message)

    def _got_through(self, host: str) -> None:
        self._through.add(host)
        if len(self._through) >= ANSWERS:
            self._enough.set()

    async def _send_all(
        self,
        socket: UdpSocket,
        nodes: Iterable[Address],
        command: int,
        *,
        target: bool = False,
        value: bytes | None = None,
    ) -> None:
        for address in nodes:
            self._tid = (self._tid + 1) & 0xFFFF
            request = Request(
                tid=self._tid,
                to=address,
                command=command,
                internal=True,
                target=self._context.rng.randbytes(32) if target else None,
                value=value,
            )
            socket.send(request.encode(), address)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._enough.wait(), WAIT_SECONDS)

    def _on_fresh_message(self, data: bytes, source: tuple[str, int], socket: UdpSocket) -> None:
        if data[:1] == bytes([RESPONSE]) and source[0] in self._asked:
            self._got_through(source[0])

    def _on_probe_message(self, data: bytes, source: tuple[str, int], socket: UdpSocket) -> None:
        """A guide named nodes."""
        try:
            packet = decode_packet(data)
        except RemoteProtocolError:
            return
        if not isinstance(packet, Response):
            return
        self._seen_as.add(packet.to.host)
        for address in packet.closer_nodes:
            if len(self._new_hosts) >= NEW_HOSTS:
                return
            known = address.host in self._asked or not self._is_new_host(address.host)
            if address.port and not known and not is_reserved(address.host):
                self._new_hosts.setdefault(address.host, address)
