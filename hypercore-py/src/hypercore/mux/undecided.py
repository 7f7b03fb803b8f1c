"""Channels that a peer has opened and that wait for a decision, and how much may be buffered for them."""

from __future__ import annotations

Key = tuple[str, bytes | None]
"""Protocol and id of a channel."""

BUFFERED_OVERHEAD = 512
"""Bytes that each buffered message counts on top of its length (protomux index.js, `byteSize`)."""
PAUSE_BUFFERED_BYTES = 32768
"""Bytes buffered for channels not yet decided on from which the stream should be paused (protomux
MAX_BUFFERED)."""
MAX_BUFFERED_BYTES = 1024 * 1024
"""Bytes buffered for channels not yet decided on at which the peer is cut off. Ours; what was on its way when
the stream was paused must fit in it."""
MAX_PENDING_OPENS = 1024
"""Channels of the peer that may wait for a decision; more are rejected. Ours (protomux: none)."""

MAX_ALL_BUFFERED_BYTES = 8 * 2**20
"""Bytes buffered for undecided channels on all connections together. Above it, a peer for which more than
MAX_BUFFERED_SHARE_BYTES are buffered is cut off as it sends more. Ours."""

MAX_BUFFERED_SHARE_BYTES = 4096
"""Bytes that may be buffered for each peer, however many are for others: the opens of some channels. Ours."""


class UndecidedBudget:
    """Counts for all muxers that share it."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int = MAX_ALL_BUFFERED_BYTES) -> None:
        self.limit = limit
        self.held = 0

    def refuses(self, size: int, more: int) -> bool:
        """Whether `more` bytes are too many for a muxer that would then buffer `size`."""
        return size > MAX_BUFFERED_SHARE_BYTES and self.held + more > self.limit


class Pending:
    """A channel that the peer has opened and is not decided on."""

    __slots__ = ("handshake", "key", "messages", "remote_id", "size")

    def __init__(self, remote_id: int, key: Key, handshake: bytes) -> None:
        self.remote_id = remote_id
        self.key = key
        self.handshake = handshake
        self.messages: list[tuple[int, bytes]] = []
        self.size = BUFFERED_OVERHEAD + len(handshake)
