"""What is remembered of a peer, and how eagerly it is dialled.

Source: hyperswarm lib/peer-info.js (4.17.2).
"""

from __future__ import annotations

from enum import IntEnum

from ..dht.address import Address

MIN_CONNECTION_SECONDS = 15.0
"""A connection that lived so long clears the count of failed attempts."""
MAX_ATTEMPTS = 3
"""Attempts in a row after which only a new discovery, or an explicit wish, makes us dial again."""
REDISCOVERY_SECONDS = 60.0
"""A peer that was given up is not dialled again sooner than this, however many topics it is found under."""


class Priority(IntEnum):
    """How eagerly a peer is dialled, by how its last attempts went."""

    VERY_LOW = 0
    LOW = 1
    NORMAL = 2
    HIGH = 3
    VERY_HIGH = 4


class PeerInfo:
    """A peer by its public key. Handed to the application with every connection."""

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
        """Nodes that relay to it, from the latest record that was found."""
        self.topics: set[bytes] = set()
        """Topics under which it was found. Empty for a peer that only dialled us."""
        self.moved_at: float | None = None
        """When its relays were last seen to have changed."""
        self.attempts = 0
        """Disconnections and failed attempts in a row."""
        self.proven = False
        """Whether dialling it ever worked since it was discovered."""
        self.client = False
        """Whether we dialled it, last time."""
        self.banned = False
        self.explicit = False
        """Whether the application wants it, topics or not."""
        self.made_way = False
        """Whether its last connection was idle and ended for the sake of another peer."""
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
        """Highest right after a disconnection, then falling. Low for a peer that gave way."""
        if self.attempts > MAX_ATTEMPTS:
            return Priority.VERY_LOW
        if self.made_way:
            return Priority.LOW
        return (Priority.NORMAL, Priority.VERY_HIGH, Priority.HIGH, Priority.LOW)[self.attempts]

    @property
    def dialable(self) -> bool:
        return not self.banned and not self.queued and self.attempts <= MAX_ATTEMPTS

    def found(self, relay_addresses: tuple[Address, ...], now: float) -> bool:
        """It was found while we were not connected. Returns whether to dial it now.

        A peer of a thousand topics is found many times a minute: the back-off stands, unless its relays
        have changed, which shows that it is alive.
        """
        moved = relay_addresses != self.relay_addresses and (
            self.moved_at is None or now - self.moved_at >= REDISCOVERY_SECONDS
        )
        self.relay_addresses = relay_addresses
        if moved:  # nodes with old records and nodes with new ones would show a move every time
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
        self.client = client
        self.connected_at = now
        self.retry_at = None
        self.made_way = False
        if client:
            self.proven = True

    def ended(self, now: float, *, client: bool) -> None:
        """A connection ended, or an attempt to make one. Only what we dialled counts against it."""
        lived = None if self.connected_at is None else now - self.connected_at
        self.connected_at = None
        self.disconnected_at = now
        if client:
            if lived is not None and lived >= MIN_CONNECTION_SECONDS:
                self.attempts = 0
            self.attempts += 1

    @property
    def forgettable(self) -> bool:
        """Whether nothing is lost with it, once there is no connection."""
        return not (self.banned or self.queued or self.explicit or self.retry_at is not None)
