"""The IPv4 addresses of this machine: those for peers of the same network, and the one used outwards."""

from __future__ import annotations

import fcntl
import socket
from contextlib import suppress
from struct import pack

from ...dht.address import Address

SIOCGIFADDR = 0x8915
"""Linux: the address of an interface."""
ADDRESS_OFFSET = 20
"""Offset of the address in the answer: after the name (16), the family (2) and the port (2)."""


def local_addresses(bound_host: str, port: int) -> tuple[Address, ...]:
    """Addresses at which the same network reaches a socket bound to `bound_host` and `port`.

    Without a network: the loopback address.
    """
    if bound_host != "0.0.0.0":
        return (Address(bound_host, port),)
    hosts = [host for host in _interface_hosts() if not host.startswith("127.")]
    return tuple(Address(host, port) for host in hosts) or (Address("127.0.0.1", port),)


class NetworkWatch:
    """Local addresses of a socket, and whether this machine has moved to another network."""

    def __init__(self, bound_host: str, port: int) -> None:
        self._bound_host = bound_host
        self._port = port
        self._way_out: str | None = None
        self.local: tuple[Address, ...] = local_addresses(bound_host, port)
        """Local addresses at the last `poll`."""

    def poll(self, towards: tuple[str, int]) -> bool:
        """Whether our own address for packets to `towards` changed since the last call.

        False without a route: the next address may be the same.
        """
        self.local = local_addresses(self._bound_host, self._port)
        before, now = self._way_out, outbound_host(towards)
        if self._bound_host != "0.0.0.0" or now is None:
            return False
        self._way_out = now
        return before is not None and now != before


def outbound_host(towards: tuple[str, int]) -> str | None:
    """Our own address for packets to another one; None without a route. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(towards)
        except OSError:
            return None
        return str(sock.getsockname()[0])


def _interface_hosts() -> list[str]:
    hosts: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface that is down, or has only IPv6
                answer = fcntl.ioctl(sock.fileno(), SIOCGIFADDR, pack("256s", name.encode()[:15]))
                host = socket.inet_ntoa(answer[ADDRESS_OFFSET : ADDRESS_OFFSET + 4])
                if host not in hosts:
                    hosts.append(host)
    return hosts
