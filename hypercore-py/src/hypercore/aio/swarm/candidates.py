"""Connections whose peers have not proven yet that they hold their keys.

The handshake's first message can be replayed by any relay that forwarded it, and the stream's header be
derived from what the relay saw: only encrypted data authenticates the peer. A second connection of a peer
waits for that, and the first one is left alone until then.
"""

from __future__ import annotations

from asyncio import TimerHandle, get_running_loop
from collections.abc import Callable

from ...errors import ConnectionClosed
from ..net.secret_connection import SecretConnection

MAX_CANDIDATES = 64
"""Waiting connections; beyond it the oldest is closed. Ours."""
CANDIDATE_SECONDS = 15.0
"""Seconds in which a peer must send an encrypted message: an idle one sends a keep-alive every 5 seconds.
Ours."""


class Candidates:
    """Calls `on_proven(connection)` when an encrypted message has come over one of them."""

    def __init__(self, on_proven: Callable[[SecretConnection], None]) -> None:
        self._on_proven = on_proven
        self._waiting: dict[SecretConnection, TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, connection: SecretConnection) -> None:
        if len(self._waiting) >= MAX_CANDIDATES:
            self._drop(next(iter(self._waiting)))
        self._waiting[connection] = get_running_loop().call_later(CANDIDATE_SECONDS, self._drop, connection)
        connection.on_close = lambda error: self._closed(connection)
        connection.notify_authenticated(lambda: self._proven(connection))

    def watch(self, connection: SecretConnection) -> None:
        """Close an accepted connection if no encrypted message comes over it in time."""
        if not connection.authenticated:
            get_running_loop().call_later(CANDIDATE_SECONDS, _end_if_unproven, connection)

    def close(self) -> None:
        for connection in list(self._waiting):
            self._drop(connection)

    def _proven(self, connection: SecretConnection) -> None:
        if self._discard(connection):
            # Not from within the reading of packets: the application may do anything
            get_running_loop().call_soon(self._on_proven, connection)

    def _closed(self, connection: SecretConnection) -> None:
        self._discard(connection)

    def _drop(self, connection: SecretConnection) -> None:
        if self._discard(connection):
            _end_if_unproven(connection)

    def _discard(self, connection: SecretConnection) -> bool:
        timer = self._waiting.pop(connection, None)
        if timer is None:
            return False
        timer.cancel()
        connection.on_close = None
        return True


def _end_if_unproven(connection: SecretConnection) -> None:
    if not connection.authenticated:
        connection.destroy(ConnectionClosed("the peer has not shown that it holds its key"))
