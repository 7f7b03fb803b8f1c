"""Sockets of one punch through a random NAT: each gets its own public port."""

from __future__ import annotations

from collections.abc import Callable

from ...dht.address import Address
from ...dht.punch_probes import PUNCH
from ..net.udp_socket import Endpoint, UdpSocket


class PunchSocketPool:
    """Opens sockets by number when needed. Calls `heard(hole, source, socket)` for single bytes."""

    def __init__(
        self, endpoint: Endpoint, beside: UdpSocket, heard: Callable[[int, Address, UdpSocket], None]
    ) -> None:
        """`beside`: the usual socket, whose host these are bound to."""
        self._endpoint = endpoint
        self._host = beside.local_address[0]
        self._heard = heard
        self._sockets: dict[int, UdpSocket | None] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._sockets)

    def send(self, hole: int, address: Address, ttl: int | None) -> None:
        """Send a byte from one of them; nothing if the system has no more sockets."""
        if hole not in self._sockets:
            self._sockets[hole] = self._open(hole)
        socket = self._sockets[hole]
        if socket is not None:
            socket.send(PUNCH, address, ttl)

    def close(self, keep: UdpSocket | None = None) -> None:
        """Close all but `keep`, which is closed with the stream that uses it. Its packets for other streams
        are ignored."""
        self._closed = True
        for socket in self._sockets.values():
            if socket is not None and socket is keep:
                socket.temporary = True
            elif socket is not None:
                socket.close()
        self._sockets.clear()

    def _open(self, hole: int) -> UdpSocket | None:
        def on_message(data: bytes, source: tuple[str, int], udp: UdpSocket) -> None:
            if len(data) == 1 and not self._closed:
                self._heard(hole, Address(*source), udp)

        try:
            return self._endpoint.bind(self._host, 0, on_message=on_message)
        except OSError:
            return None
