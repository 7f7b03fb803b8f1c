"""Decides how long a reader waits for contents that no peer may have.

`get` of a large drive must not stop at one file that its writer cleared, nor at a peer that announces blocks
and never sends them. While a peer sends, a wait lasts as long as needed; a block that no connected peer has
is given up after a few seconds, further such blocks at once, until another peer connects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from typing import Protocol, TypeVar

from hypercore.errors import BlockNotAvailable

T = TypeVar("T")

UNCONNECTED = 60.0
"""Seconds without any peer, since the swarm was joined or the last peer left. Ours: finding and reaching a
peer behind two NATs takes up to 20."""

LACKING = 10.0
"""Seconds since the last peer connected, if no connected peer has the block. Ours: what a peer has is known
within a round trip, and another peer is found within seconds or late."""

SILENT = 60.0
"""Seconds since anything was received, where a peer announced the block. Halved with every block in a row
that did not come, down to MIN_SILENT. Ours."""

MIN_SILENT = 0.5
"""Seconds of the shortest such wait."""

POLL = 0.1
"""Seconds between two checks."""


class ConnectedPeer(Protocol):
    """The part of a peer that waiting needs."""

    def has(self, index: int, /) -> bool:
        """Whether the peer has announced the block."""


class Waiting:
    """Decides for all reads of one command when a wait is over."""

    def __init__(self, limit: float | None) -> None:
        """`limit` is the time of the whole command, in seconds: a single wait takes at most a third of it."""
        self._longest = float("inf") if limit is None else limit / 3
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._received_at = self._peers_at = self._started
        self._peers: set[int] = set()
        self._given_up = 0

    async def wait(
        self, reading: Awaitable[T], peers: Collection[ConnectedPeer], index: int | None, what: str
    ) -> T:
        """Return the result of `reading`, which needs block `index` (None: a head) of a core with these
        peers.

        Raises BlockNotAvailable, with `what` in its text, when the wait is over.
        """
        task = asyncio.ensure_future(reading)
        began = self._loop.time()
        try:
            while True:
                done, _ = await asyncio.wait((task,), timeout=POLL)
                now = self._loop.time()
                self._record_peers(peers, now)
                if done:
                    self._received_at, self._given_up = now, 0
                    return task.result()
                reason = self._is_over(began, now, peers, index)
                if reason is not None:
                    self._given_up += 1
                    raise BlockNotAvailable(f"{what} is not here, and {reason}")
        finally:
            task.cancel()

    def _record_peers(self, peers: Collection[ConnectedPeer], now: float) -> None:
        known = {id(peer) for peer in peers}
        if known != self._peers:
            self._peers, self._peers_at = known, now

    def _is_over(
        self, began: float, now: float, peers: Collection[ConnectedPeer], index: int | None
    ) -> str | None:
        """Why the wait is over, or None."""
        waited = now - began
        too_long = waited >= self._longest
        if not peers:
            over = now - self._peers_at >= UNCONNECTED
            return "no peer that has it was found" if over or too_long else None
        if index is not None and any(peer.has(index) for peer in peers):
            quiet = max(MIN_SILENT, SILENT / 2**self._given_up)
            over = now - max(began, self._received_at) >= quiet
            return "the peers that announce it do not send it" if over or too_long else None
        over = now - self._peers_at >= LACKING
        count = "the peer that is" if len(peers) == 1 else f"none of the {len(peers)} peers that are"
        lacks = f"{count} connected {'lacks' if len(peers) == 1 else 'has'} it"
        return lacks if over or too_long else None
