"""The record of a peer, and the priority of dialling it.

Source: hyperswarm lib/peer-info.js (4.17.2).
"""

from __future__ import annotations

from enum import IntEnum

from ..dht.address import Address

MIN_CONNECTION_SECONDS = 15.0
"""Seconds after which a connection clears the count of failed attempts."""
MAX_ATTEMPTS = 3
"""Attempts in a row after which a peer is dialled again only after a new discovery or `join_peer`."""
REDISCOVERY_SECONDS = 60.0
"""Least seconds until a peer with MAX_ATTEMPTS is dialled again, in however many topics it is found."""


class Priority(IntEnum):
    """Priority of dialling a peer, from its last attempts."""

    VERY_LOW = 0
    LOW = 1
    NORMAL = 2
    HIGH = 3
    VERY_HIGH = 4


class PeerInfo:
    """A peer by its public key. Passed to the application with every connection."""

    __slots__ = (
        "attempts",
        "banned",
        "client",
        "connected_at",
        "disconnected_at",
        "explicit",
        "made_way",
        "moved_at",
        "proven",
        "public_key",
        "queued",
        "reconnect",
        "relay_addresses",
        "retry_at",
        "topics",
    )

    def __init__(self, public_key: bytes) -> None:
        self.public_key = public_key
        self.relay_addresses: tuple[Address, ...] = ()
        """Nodes that relay to it, from the latest record."""
        self.topics: set[bytes] = set()
        """Topics under which it was found. Empty for a peer that only dialled us."""
        self.moved_at: float | None = None
        """When its relays last changed."""
        self.attempts = 0
        """Disconnections and failed attempts in a row."""
        self.proven = False
        """Whether dialling it ever worked since it was discovered."""
        self.client = False
        """Whether we dialled its last connection."""
        self.banned = False
        self.explicit = False
        """Whether the application called `join_peer` for it."""
        self.made_way = False
        """Whether its last connection was idle and closed for another peer."""
        self.reconnect = True
        """Whether to dial again after a disconnection."""
        self.queued = False
        self.retry_at: float | None = None
        self.connected_at: float | None = None
        self.disconnected_at: float | None = None

    def __repr__(self) -> str:
        return f"<PeerInfo {self.public_key.hex()[:8]} attempts={self.attempts} proven={self.proven}>"

    @property
    def priority(self) -> Priority:
        """Highest after a disconnection, then falling. Low for a peer that was closed for another."""
        if self.attempts > MAX_ATTEMPTS:
            return Priority.VERY_LOW
        if self.made_way:
            return Priority.LOW
        return (Priority.NORMAL, Priority.VERY_HIGH, Priority.HIGH, Priority.LOW)[self.attempts]

    @property
    def dialable(self) -> bool:
        """Whether it may be dialled: it is not banned, connected or on the way."""
        return not self.banned and not self.queued and self.attempts <= MAX_ATTEMPTS

    def found(self, relay_addresses: tuple[Address, ...], now: float) -> bool:
        """It was found while we were not connected. Returns whether to dial it now.

        A peer of a thousand topics is found many times a minute, so the back-off stays, unless its relays
        have changed, which shows that it is alive.
        """
        moved = relay_addresses != self.relay_addresses and (
            self.moved_at is None or now - self.moved_at >= REDISCOVERY_SECONDS
        )
        self.relay_addresses = relay_addresses
        if moved:  # nodes with old and with new records would show a change each time
            self.moved_at = now
        if self.retry_at is not None and not moved:
            return False
        if self.priority < Priority.NORMAL or not self.client:
            ended = self.disconnected_at
            if self.attempts and not moved and ended is not None and now - ended < REDISCOVERY_SECONDS:
                return False
            self.client = False
            self.proven = False
            self.attempts = 0
        return True

    def connected(self, now: float, *, client: bool) -> None:
        """Whether a connection to it stands."""
        self.client = client
        self.connected_at = now
        self.retry_at = None
        self.made_way = False
        if client:
            self.proven = True

    def ended(self, now: float, *, client: bool) -> None:
        """A connection or an attempt ended. Only dials of ours count as failures."""
        lived = None if self.connected_at is None else now - self.connected_at
        self.connected_at = None
        self.disconnected_at = now
        if client:
            if lived is not None and lived >= MIN_CONNECTION_SECONDS:
                self.attempts = 0
            self.attempts += 1

    @property
    def forgettable(self) -> bool:
        """Whether the record may be deleted when there is no connection."""
        return not (self.banned or self.queued or self.explicit or self.retry_at is not None)
