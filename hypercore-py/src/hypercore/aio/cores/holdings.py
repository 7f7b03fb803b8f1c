"""A budget of memory over all connections, and which connections are closed when it is exceeded."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Protocol

MAX_INCOMING_BYTES = 32 * 2**20
"""Bytes received over all connections and not processed: incomplete frames, messages that wait for their
turn, and those that are processed in portions. Ours."""

MAX_OUTGOING_BYTES = 32 * 2**20
"""Bytes over all connections that wait to be sent or acknowledged, and requests that wait for an answer.
Above it, no requests are answered. Ours."""

MAX_EVICTED = 8
"""Connections closed at a time: each takes a part of a millisecond."""

MAX_CREDIT = 15
"""Largest credit of a connection, in blocks that it brought. With it, a connection may hold sixteen times as
many bytes, or for sixteen times as long, as one without credit. Ours."""

PROGRESS_SECONDS = 3.0
"""Seconds in which a connection must move as many bytes as it holds; a slower one may be closed to free
memory."""


class Holder(Protocol):
    @property
    def useful(self) -> int:
        """Pieces of useful work that the connection has done for us so far."""

    def poll(self) -> None:
        """Report to the budget what is held now."""

    def evict(self) -> None:
        """Close the connection, to free what it holds."""


class _Hold:
    __slots__ = ("done", "since", "size")

    def __init__(self, done: int, since: float) -> None:
        self.size = 0
        self.done = done
        self.since = since


class Holdings:
    """A budget over all connections. When it is exceeded, the connections with the highest bytes times
    seconds without progress are closed. Blocks that a connection brought lower its value, since a large block
    on a slow line looks like a message that never ends."""

    def __init__(self, limit: int, *, grace: float, clock: Callable[[], float] = monotonic) -> None:
        """A connection that moved as much as it holds within `grace` seconds is never evicted."""
        self.limit = limit
        self.held = 0
        self.evicted = 0
        self._grace = grace
        self._clock = clock
        self._holds: dict[Holder, _Hold] = {}
        self._polled_at = float("-inf")

    @property
    def full(self) -> bool:
        return self.held >= self.limit

    def record(self, holder: Holder, size: int, done: int) -> None:
        """The holder holds `size` bytes now, and has moved `done` bytes since it began."""
        hold = self._holds.get(holder)
        if hold is None:
            if not size:
                return
            hold = self._holds[holder] = _Hold(done, self._clock())
        elif not size:
            self.held -= hold.size
            del self._holds[holder]
            return
        elif done - hold.done >= size:
            hold.done, hold.since = done, self._clock()
        self.held += size - hold.size
        hold.size = size
        if self.held > self.limit:
            self.make_room()

    def holders(self) -> list[Holder]:
        """Connections that hold any bytes."""
        return list(self._holds)

    def leave(self, holder: Holder) -> None:
        hold = self._holds.pop(holder, None)
        if hold is not None:
            self.held -= hold.size

    def make_room(self) -> None:
        """Evict until a quarter is free or no connection may be evicted. Acts every 10 ms at most."""
        now = self._clock()
        if now - self._polled_at < 0.01 and self.held < 2 * self.limit:
            return
        self._polled_at = now
        slow = [
            (hold.size * (now - hold.since) / (1 + min(holder.useful, MAX_CREDIT)), holder)
            for holder, hold in self._holds.items()
            if now - hold.since >= self._grace
        ]
        for _, holder in sorted(slow, key=lambda item: item[0], reverse=True)[:MAX_EVICTED]:
            self.evicted += 1
            self.leave(holder)
            holder.evict()
            if self.held <= self.limit * 3 // 4:
                break
