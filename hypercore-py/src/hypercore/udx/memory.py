"""What all streams of an endpoint hold for applications that do not read, and of packets that came early."""

from __future__ import annotations

MAX_RECEIVED_BYTES = 24 * 2**20
"""Bytes that all streams of an endpoint hold like that. Above it, those that hold more than
MAX_RECEIVED_SHARE_BYTES take no more, as if it had been lost, and offer no window. Ours."""

MAX_RECEIVED_SHARE_BYTES = 16 * 1024
"""Bytes that each stream may hold however much the others do. Ours."""


class ReceiveMemory:
    """Counts for all streams of an endpoint."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int = MAX_RECEIVED_BYTES) -> None:
        self.limit = limit
        self.held = 0

    def refuses(self, held: int) -> bool:
        """Whether a stream that holds `held` bytes may hold no more."""
        return self.held >= self.limit and held >= MAX_RECEIVED_SHARE_BYTES
