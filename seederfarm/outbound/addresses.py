"""Addresses that the farm may connect to on behalf of people, and connections to them only.

A name is resolved once; all of its addresses must be allowed, and the connection goes to one of them, so that
a name that resolves differently a moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import Any, Final

import httpcore

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SERVICES: Final = frozenset(map(ipaddress.ip_address, ("168.63.129.16", "fd00:ec2::254")))
"""Addresses of cloud platforms that are public by their number, or private: Azure's host agent and AWS's
instance metadata over IPv6. 169.254.169.254 and 100.100.100.200 are covered by their networks."""
_NAT64: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


class ForbiddenAddress(Exception):
    """A URL, or a redirect of one, leads to an address that the policy does not allow."""


class AddressPolicy:
    """Allows public addresses, and `networks` (such as `192.168.0.0/16`)."""

    setting = ""
    """Name of the setting with the networks."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks: tuple[Network, ...] = tuple(map(ipaddress.ip_network, networks))

    def refusal(self, host: str, address: str) -> Exception:
        """Return the error that `resolve` raises for an address that is not allowed."""
        what = f"{host} is at {address}, which is not" if host.strip("[]") != address else f"{host} is not"
        return ForbiddenAddress(f"{what} a public address ({self.setting} can allow it)")

    def allows(self, text: str) -> bool:
        """Return whether a connection to this address is allowed. Text that is no address is not."""
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        addresses = (address, *_embedded(address))
        if any(self._is_listed(item) for item in addresses):
            return True
        return all(_is_public(item) for item in addresses)

    def _is_listed(self, address: Address) -> bool:
        return any(address in network for network in self._networks if network.version == address.version)

    async def resolve(self, host: str, port: int) -> list[str]:
        """Addresses of `host`. Raises `refusal` if one is not allowed, OSError if there is none."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise OSError(f"{host!r} is no host name") from error
        addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
        if not addresses:
            raise OSError("the name has no address")
        for address in addresses:
            if not self.allows(address):
                raise self.refusal(host, address)
        return addresses


def _embedded(address: Address) -> Sequence[Address]:
    """IPv4 addresses embedded in an IPv6 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _NAT64) or int(address) >> 32 == 0:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [item for item in found if item is not None]


def _is_public(address: Address) -> bool:
    if address.is_multicast or address.is_reserved or address.is_unspecified or address in SERVICES:
        return isinstance(address, ipaddress.IPv6Address) and _stands_for_ipv4(address)
    if isinstance(address, ipaddress.IPv6Address):
        if _stands_for_ipv4(address):
            return True  # the IPv4 address decides
        if address.is_site_local:
            return False
    return address.is_global


def _stands_for_ipv4(address: ipaddress.IPv6Address) -> bool:
    return address.ipv4_mapped is not None or address in _NAT64[0]


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connections to allowed addresses only, for an `httpcore` pool. TLS still verifies the name."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host` that answers, of four, if all are allowed. Raises
        `httpcore.ConnectError` and `ConnectTimeout`."""
        try:
            addresses = await self._policy.resolve(host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        last: Exception | None = None
        for address in addresses[:4]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        assert last is not None
        raise last

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raise `httpcore.ConnectError`: sockets of this machine are not allowed."""
        raise httpcore.ConnectError("unix sockets are not allowed")

    async def sleep(self, seconds: float) -> None:
        """Wait, as `httpcore` asks for between two tries."""
        await self._inner.sleep(seconds)
