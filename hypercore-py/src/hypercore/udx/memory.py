"""A budget for unread and out-of-order bytes of all streams of an endpoint."""

from __future__ import annotations

MAX_RECEIVED_BYTES = 24 * 2**20
"""Unread and out-of-order bytes of all streams of an endpoint. Above it, streams with more than
MAX_RECEIVED_SHARE_BYTES drop further packets and offer no window. Ours."""

MAX_RECEIVED_SHARE_BYTES = 16 * 1024
"""Bytes that each stream may hold, whatever others hold. Ours."""


class ReceiveMemory:
    """The held bytes of all streams of an endpoint."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int = MAX_RECEIVED_BYTES) -> None:
        self.limit = limit
        self.held = 0

    def refuses(self, held: int) -> bool:
        """Whether a stream with `held` bytes may hold no more."""
        return self.held >= self.limit and held >= MAX_RECEIVED_SHARE_BYTES
