"""A swarm's connection, or attempt to connect, to one peer; reasons to end it."""

from __future__ import annotations

import asyncio

from ...errors import ConnectionClosed
from ...swarm import PeerInfo
from ..net.secret_connection import SecretConnection

HEADER_FRAME_BYTES = 59
"""Bytes that a secret stream sends before any message. A stream with more was used."""


class Duplicate(ConnectionClosed):
    """The peer has another connection to us, which stays."""

    code = "DUPLICATE_CONNECTION"


class Crowded(ConnectionClosed):
    """All slots are taken, and this connection does not replace another one."""

    code = "TOO_MANY_CONNECTIONS"


class PeerConnection:
    """A connection, or an attempt to connect, to one peer."""

    __slots__ = ("client", "connection", "peer", "task")

    def __init__(self, peer: PeerInfo, *, client: bool) -> None:
        self.peer = peer
        self.client = client
        """Whether we dialled."""
        self.task: asyncio.Task[None] | None = None
        self.connection: SecretConnection | None = None

    @property
    def used(self) -> bool:
        """Whether messages went both ways."""
        link = self.connection
        return link is not None and min(link.bytes_in, link.bytes_out) > HEADER_FRAME_BYTES

    @property
    def doubtful(self) -> bool:
        """Whether a peer that dialled us has sent no encrypted message yet."""
        return self.connection is not None and not (self.client or self.connection.authenticated)
