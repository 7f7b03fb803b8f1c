"""Sockets of one punch through a random NAT: every one of them gets a public port of its own."""

from __future__ import annotations

from collections.abc import Callable

from ...dht.address import Address
from ...dht.punch_probes import PUNCH
from ..net.udp_socket import Endpoint, UdpSocket


class PunchSocketPool:
    """Opened as they are needed, by number. `heard(hole, source, socket)` is called for single bytes."""

    def __init__(
        self, endpoint: Endpoint, beside: UdpSocket, heard: Callable[[int, Address, UdpSocket], None]
    ) -> None:
        """`beside` is the usual socket: these are bound to the same host."""
        self._endpoint = endpoint
        self._host = beside.local_address[0]
        self._heard = heard
        self._sockets: dict[int, UdpSocket | None] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._sockets)

    def send(self, hole: int, address: Address, ttl: int | None) -> None:
        """Send a byte from one of them. Where the system gives us no more sockets, nothing is sent."""
        if hole not in self._sockets:
            self._sockets[hole] = self._open(hole)
        socket = self._sockets[hole]
        if socket is not None:
            socket.send(PUNCH, address, ttl)

    def close(self, keep: UdpSocket | None = None) -> None:
        """Close all but one, which from now on is closed with the stream that uses it. What comes there and
        is for no stream is ignored."""
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
