"""Finding out whether strangers can reach us without a relay.

Nodes that we have never talked to are asked, from another socket, to send something to our usual port. If
it arrives, no NAT and no firewall is in the way, and peers behind the worst of NATs can connect to us.
Official nodes do the same with PING_NAT (dht-rpc index.js `_checkIfFirewalled`, 6.27.0), but use one socket
for asking all their life and another one for serving; we have one for both, so it has to be strangers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING

from ..dht.address import Address, is_reserved
from ..dht.constants import Internal
from ..dht.packet import RESPONSE, Request, Response, decode_packet
from ..errors import RemoteProtocolError

if TYPE_CHECKING:
    from .dht import DhtNode
    from .udp import UdpSocket

GUIDES = 8
"""Nodes that we know, asked for strangers."""
STRANGERS = 10
"""Strangers asked to send something to our port."""
FEWEST_STRANGERS = 5
"""Strangers needed to tell anything."""
ANSWERS = 3
"""Strangers that must get through."""
WAIT_SECONDS = 2.0
"""How long answers are waited for."""


class ReachabilityTest:
    """One test. `heard(source)` is to be told of datagrams that arrive at the usual port meanwhile."""

    def __init__(self, node: DhtNode, is_stranger: Callable[[str], bool]) -> None:
        self._node = node
        self._is_stranger = is_stranger
        self._strangers: dict[str, Address] = {}
        self._through: set[str] = set()
        self._seen_as: set[str] = set()
        self._tid = 0

    def heard(self, data: bytes, source: Address) -> None:
        """A datagram came to our usual port."""
        if data[0] == RESPONSE and self._strangers.get(source.host) == source:
            self._through.add(source.host)

    async def run(self) -> bool | None:
        """Whether strangers reach us. None: too few are there to ask."""
        probe = self._node.endpoint.bind(self._node.socket.local_address[0], 0)
        probe.on_message = self._on_probe_message
        try:
            guides = [node.address for node in islice(self._node.core.table.latest(), GUIDES)]
            await self._send_all(probe, guides, Internal.FIND_NODE, target=True)
            if len(self._strangers) < FEWEST_STRANGERS or self._seen_as != {self._node.core.nat.host}:
                return None
            port = self._node.local_port.to_bytes(2, "little")
            for _ in range(2):
                waiting = [a for host, a in self._strangers.items() if host not in self._through]
                await self._send_all(probe, waiting, Internal.PING_NAT, value=port)
                if len(self._through) >= ANSWERS:
                    return True
            return False
        finally:
            probe.close()

    async def _send_all(
        self,
        probe: UdpSocket,
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
                target=self._node.rng.randbytes(32) if target else None,
                value=value,
            )
            probe.send(request.encode(), address)
        await asyncio.sleep(WAIT_SECONDS)

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
            if len(self._strangers) >= STRANGERS:
                return
            if address.port and not is_reserved(address.host) and self._is_stranger(address.host):
                self._strangers.setdefault(address.host, address)
