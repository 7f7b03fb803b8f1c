"""Channels that a peer has opened and that wait for a decision, and bounds on their buffered messages."""

from __future__ import annotations

from ..errors import RemoteProtocolError

Key = tuple[str, bytes | None]
"""Protocol and id of a channel."""

BUFFERED_OVERHEAD = 512
"""Bytes that each buffered message counts on top of its length (protomux index.js, `byteSize`)."""
PAUSE_BUFFERED_BYTES = 32768
"""Bytes buffered for undecided channels from which the stream should be paused (protomux MAX_BUFFERED)."""
MAX_BUFFERED_BYTES = 1024 * 1024
"""Bytes buffered for undecided channels at which the peer is disconnected. Ours; messages in flight when the
stream was paused must fit in it."""
MAX_PENDING_OPENS = 1024
"""Undecided channels of a peer; more are rejected. Ours (protomux: none)."""

MAX_ALL_BUFFERED_BYTES = 8 * 2**20
"""Bytes buffered for undecided channels on all connections together. Above it, a peer with more than
MAX_BUFFERED_SHARE_BYTES is disconnected when it sends more. Ours."""

MAX_BUFFERED_SHARE_BYTES = 4096
"""Bytes that may be buffered for each peer, whatever others buffer: the opens of some channels. Ours."""


class UndecidedBudget:
    """The buffered bytes of all muxers that share it."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int = MAX_ALL_BUFFERED_BYTES) -> None:
        self.limit = limit
        self.held = 0

    def refuses(self, size: int, more: int) -> bool:
        """Whether `more` bytes exceed the budget, for a muxer that would then buffer `size`."""
        return size > MAX_BUFFERED_SHARE_BYTES and self.held + more > self.limit


class Pending:
    """An undecided channel that the peer has opened."""

    __slots__ = ("handshake", "key", "messages", "remote_id", "size")

    def __init__(self, remote_id: int, key: Key, handshake: bytes) -> None:
        self.remote_id = remote_id
        self.key = key
        self.handshake = handshake
        self.messages: list[tuple[int, bytes]] = []
        self.size = BUFFERED_OVERHEAD + len(handshake)


class Undecided:
    """The undecided channels of one muxer, by protocol and id, the oldest first.

    `budget` counts their bytes together with those of other muxers.
    """

    __slots__ = ("_budget", "_buffered", "_by_key", "_count")

    def __init__(self, budget: UndecidedBudget) -> None:
        self._budget = budget
        self._by_key: dict[Key, list[Pending]] = {}
        self._count = 0
        self._buffered = 0

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        """Whether another channel must be rejected at once."""
        return self._count >= MAX_PENDING_OPENS

    @property
    def paused(self) -> bool:
        """Whether reading from the peer should pause until a decision."""
        return self._buffered > PAUSE_BUFFERED_BYTES

    def add(self, remote_id: int, key: Key, handshake: bytes) -> Pending:
        """Add a channel that the peer has opened with its number `remote_id`. Raises RemoteProtocolError
        above the bounds."""
        pending = Pending(remote_id, key, handshake)
        self._hold(pending.size)
        self._by_key.setdefault(key, []).append(pending)
        self._count += 1
        return pending

    def buffer(self, pending: Pending, type_id: int, payload: bytes) -> None:
        """Buffer a message of such a channel. Raises RemoteProtocolError above the bounds."""
        size = BUFFERED_OVERHEAD + len(payload)
        self._hold(size)
        pending.size += size
        pending.messages.append((type_id, payload))

    def take_oldest(self, key: Key) -> Pending | None:
        """Remove and return the oldest channel of `key`; None without one."""
        queue = self._by_key.get(key)
        if queue is None:
            return None
        pending = queue[0]
        self.discard(pending)
        return pending

    def discard(self, pending: Pending) -> None:
        """Remove a channel."""
        queue = self._by_key[pending.key]
        queue.remove(pending)
        if not queue:
            del self._by_key[pending.key]
        self._count -= 1
        self._buffered -= pending.size
        self._budget.held -= pending.size

    def clear(self) -> None:
        """Remove all channels."""
        self._budget.held -= self._buffered
        self._by_key.clear()
        self._count = self._buffered = 0

    def _hold(self, size: int) -> None:
        if self._buffered + size > MAX_BUFFERED_BYTES:
            raise RemoteProtocolError(f"over {MAX_BUFFERED_BYTES} bytes for channels that are not open")
        if self._budget.refuses(self._buffered + size, size):
            raise RemoteProtocolError("too many messages, over all peers, for channels that are not open")
        self._buffered += size
        self._budget.held += size
