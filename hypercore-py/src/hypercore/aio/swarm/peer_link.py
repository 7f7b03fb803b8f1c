"""What a swarm has to one peer: a connection, or an attempt at one; and why it ended one."""

from __future__ import annotations

import asyncio

from ...errors import ConnectionClosed
from ...swarm import PeerInfo
from ..net.secret_connection import SecretConnection

HEADER_FRAME_BYTES = 59
"""Length of what a secret stream sends before any message: more than that, and it was used."""


class Duplicate(ConnectionClosed):
    """The peer has another connection to us, which stays."""

    code = "DUPLICATE_CONNECTION"


class Crowded(ConnectionClosed):
    """We have as many connections as we may have, and this one is not the one to stay."""

    code = "TOO_MANY_CONNECTIONS"


class PeerLink:
    """What we have to a peer: a connection, or an attempt at one."""

    __slots__ = ("client", "connection", "peer", "task")

    def __init__(self, peer: PeerInfo, *, client: bool) -> None:
        self.peer = peer
        self.client = client
        """Whether we dialled."""
        self.task: asyncio.Task[None] | None = None
        self.connection: SecretConnection | None = None

    @property
    def used(self) -> bool:
        """Whether it has carried messages both ways."""
        link = self.connection
        return link is not None and min(link.bytes_in, link.bytes_out) > HEADER_FRAME_BYTES

    @property
    def doubtful(self) -> bool:
        """Whether the dialling peer is unconfirmed: nothing encrypted was received."""
        return self.connection is not None and not (self.client or self.connection.authenticated)
