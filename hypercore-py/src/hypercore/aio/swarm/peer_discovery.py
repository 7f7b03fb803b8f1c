"""One membership of a topic, owned by its caller."""

from __future__ import annotations

from typing import Protocol


class DiscoveryHost(Protocol):
    """The methods of a swarm that `PeerDiscovery` calls."""

    def set_mode(
        self, discovery: PeerDiscovery, /, *, server: bool, client: bool, refresh: bool = False
    ) -> None:
        """Change what the membership asks for. `refresh`: announce and look up even if nothing changes."""

    async def refreshed(self, topic: bytes, /) -> bool:
        """Wait for the refresh that is due or under way. Returns whether any node answered it."""


class PeerDiscovery:
    """One `join` of a topic. The swarm leaves the topic with its last join."""

    __slots__ = ("_swarm", "client", "closed", "server", "topic")

    def __init__(self, swarm: DiscoveryHost, topic: bytes) -> None:
        self.topic = topic
        self.server = False
        self.client = False
        self.closed = False
        self._swarm = swarm

    async def flushed(self) -> bool:
        """Wait for the pending or running refresh. False if no node answered it."""
        return await self._swarm.refreshed(self.topic)

    async def refresh(self) -> bool:
        """Announce and look up again now. False if no node answered."""
        self._swarm.set_mode(self, server=self.server, client=self.client, refresh=True)
        return await self.flushed()

    def set_mode(self, *, server: bool | None = None, client: bool | None = None) -> None:
        """Change whether we announce (`server`) and whether we look up peers (`client`)."""
        self._swarm.set_mode(
            self,
            server=self.server if server is None else server,
            client=self.client if client is None else client,
        )

    async def leave(self) -> None:
        """Leave the topic, and wait until it is unannounced or that has failed."""
        if not self.closed:
            self._swarm.set_mode(self, server=False, client=False)
            self.closed = True
            await self._swarm.refreshed(self.topic)
