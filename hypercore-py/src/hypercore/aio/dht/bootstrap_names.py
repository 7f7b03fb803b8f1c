"""Looks up the addresses of bootstrap nodes that are known by name."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from ...dht.address import Address, BootstrapNode

RESOLVE_AGAIN_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Waits between attempts to look up the bootstrap nodes' names."""


class BootstrapNames:
    """`on_lookup` is called after each round of lookups with the addresses found, perhaps none;
    `on_unresolved` when a name does not resolve for the first time."""

    def __init__(
        self,
        nodes: Sequence[BootstrapNode],
        *,
        on_lookup: Callable[[list[Address]], None],
        on_unresolved: Callable[[], None],
    ) -> None:
        self.addresses = [Address(node.address, node.port) for node in nodes if node.address is not None]
        """Those that need no lookup."""
        self.without_address = [node for node in nodes if node.address is None]
        self.unresolved: dict[str, str] = {}
        """Names that do not resolve, with the reason."""
        self._fallback = [n for n in nodes if n.address is not None and n.host != n.address]
        self._on_lookup = on_lookup
        self._on_unresolved = on_unresolved

    def take_fallback(self) -> list[BootstrapNode]:
        """Nodes with an address and a name, to be looked up if no address answers. Empty the next time."""
        fallback, self._fallback = self._fallback, []
        return fallback

    async def resolve(self, nodes: Sequence[BootstrapNode]) -> None:
        """Look up these names until each has an address."""
        loop = asyncio.get_running_loop()
        for wait in (*RESOLVE_AGAIN_SECONDS, None):
            failed: list[BootstrapNode] = []
            addresses: list[Address] = []
            for node in nodes:
                try:
                    found = await loop.getaddrinfo(
                        node.host, node.port, family=socket.AF_INET, type=socket.SOCK_DGRAM
                    )
                except (OSError, UnicodeError) as error:
                    failed.append(node)
                    self._record_unresolved(node.host, error)
                    continue
                self.unresolved.pop(node.host, None)
                addresses += [Address(*entry[4][:2]) for entry in found]
            nodes = failed
            self._on_lookup(addresses)
            if not nodes:
                return
            await asyncio.sleep(RESOLVE_AGAIN_SECONDS[-1] if wait is None else wait)

    def _record_unresolved(self, host: str, error: Exception) -> None:
        is_new = host not in self.unresolved
        self.unresolved[host] = str(getattr(error, "strerror", None) or error)
        if is_new:
            self._on_unresolved()
