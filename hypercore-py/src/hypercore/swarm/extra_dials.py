"""Dialling when all places for peers that we dial are taken.

It costs nothing to announce peers under a topic, so all places may belong to peers that give nothing. A
topic whose peers are of no use does not wait for one of them to leave: a connection that has been idle makes
way for a candidate of such a topic, and where none is idle, a few more than there are places for are dialled,
one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from .peer_info import PeerInfo

IDLE_SECONDS = 300.0
"""Seconds without use after which a connection that we dialled may make way. Ours."""

EXTRA_SECONDS = 60.0
"""Seconds without anything for us after which a connection beyond the number that we dial may make way for
another one. Ours."""

CHECK_SECONDS = 2.0
"""Seconds between two checks of which connections are in use and which topics lack peers. Ours."""

EXTRA_PER_TOPIC = 2
"""Connections beyond the number that we dial, for one topic. Ours."""

EXTRA_SHARE = 4
"""Divisor: all topics together may have the number of dials divided by this. Ours."""

MAX_TRIES = 64
"""Candidates, of those that wait, whose topics one check looks at: it takes about a millisecond. Ours."""

MAX_TOPICS_TRIED = 8
"""Topics of one candidate that a check looks at. Ours."""


class Use(NamedTuple):
    """What a connection has been used for so far. Both only grow."""

    total: int
    """Pieces of useful work, for us or for the peer."""
    received: int
    """Those that were of use to us."""


class ExtraDial(NamedTuple):
    """Dial `peer` now, and end the connection to the peer with the public key `evict`, if any."""

    peer: PeerInfo
    evict: bytes | None


class _Record:
    __slots__ = ("received_at", "use", "used_at")

    def __init__(self, use: Use, now: float) -> None:
        self.use = use
        self.used_at = now
        self.received_at = now


class ExtraDials:
    """Decides who makes way for a candidate of a topic. `use_of(public_key)` says what an open connection
    has been used for."""

    def __init__(self, use_of: Callable[[bytes], Use]) -> None:
        self._use_of = use_of
        self._records: dict[bytes, _Record] = {}
        """By public key, of the connections that we dialled, as of the last check."""
        self._topics: dict[bytes, bytes] = {}
        """Peers that were dialled beyond the number, each with the topic that it was dialled for."""
        self._now = 0.0

    def __len__(self) -> int:
        return len(self._topics)

    def check(self, dialled: Iterable[bytes], now: float) -> None:
        """Look at the use of all open connections that we dialled. What is idle counts from the first check
        that sees it."""
        self._now = now
        before, self._records = self._records, {}
        for key in dialled:
            use = self._use_of(key)
            record = self._records[key] = before.get(key) or _Record(use, now)
            if use.total != record.use.total:
                record.used_at = now
            if use.received != record.use.received:
                record.received_at = now
            record.use = use

    def idle(self, spared: Callable[[bytes], bool]) -> bytes | None:
        """The peer whose connection has been of no use to either side for longest, and long enough."""
        able = (key for key in self._records if key not in self._topics and not spared(key))
        return self._longest(able, lambda record: record.used_at, IDLE_SECONDS)

    def extra_for(self, topic: bytes, max_extra: int) -> tuple[bool, bytes | None]:
        """Whether one more peer of the topic may be dialled beyond the number, and which earlier extra one is
        closed for it: one that has given us nothing for long enough."""
        same = [key for key, its_topic in self._topics.items() if its_topic == topic]
        if len(same) < EXTRA_PER_TOPIC and len(self._topics) < max_extra:
            return True, None
        able: Collection[bytes] = same if len(same) >= EXTRA_PER_TOPIC else self._topics
        evict = self._longest(able, lambda record: record.received_at, EXTRA_SECONDS)
        return evict is not None, evict

    def add(self, public_key: bytes, topic: bytes) -> None:
        """A peer is dialled beyond the number."""
        self._topics[public_key] = topic

    def ended(self, public_key: bytes) -> None:
        self._topics.pop(public_key, None)

    def clear(self) -> None:
        """There are places for all again."""
        self._topics.clear()

    def _longest(
        self, keys: Iterable[bytes], since: Callable[[_Record], float], seconds: float
    ) -> bytes | None:
        able = [key for key in keys if key in self._records]
        key = min(able, key=lambda key: since(self._records[key]), default=None)
        if key is None or self._now - since(self._records[key]) < seconds:
            return None
        return key
