"""Dials beyond the usual number of peers that we dial.

Announcing under a topic is free, so all our connections may be to useless peers. A topic with useless peers
does not wait for one of them to leave: an idle connection is closed for a candidate of such a topic, and if
none is idle, a few more peers than usual are dialled, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from .peer_info import PeerInfo

IDLE_SECONDS = 300.0
"""Seconds without use after which a connection that we dialled may be closed for another. Ours."""

EXTRA_SECONDS = 60.0
"""Seconds without useful data for us after which an extra connection may be closed for another. Ours."""

CHECK_SECONDS = 2.0
"""Seconds between two checks of which connections are in use and which topics lack peers. Ours."""

EXTRA_PER_TOPIC = 2
"""Extra connections for one topic. Ours."""

EXTRA_SHARE = 4
"""Divisor: all topics together may have the usual number of dials divided by this as extra ones. Ours."""

MAX_TRIES = 64
"""Waiting candidates whose topics one check examines: it takes about a millisecond. Ours."""

MAX_TOPICS_TRIED = 8
"""Topics of one candidate that a check examines. Ours."""


class Use(NamedTuple):
    """Work of a connection so far. Both numbers only grow."""

    total: int
    """Pieces of useful work, for us or for the peer."""
    received: int
    """Pieces of useful work for us."""


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
    """Decides which connection is closed for a candidate of a topic. `use_of(public_key)` returns the work of
    an open connection."""

    def __init__(self, use_of: Callable[[bytes], Use]) -> None:
        self._use_of = use_of
        self._records: dict[bytes, _Record] = {}
        """Records of the connections that we dialled, by public key, at the last check."""
        self._topics: dict[bytes, bytes] = {}
        """Extra peers, each with the topic that it was dialled for."""
        self._now = 0.0

    def __len__(self) -> int:
        return len(self._topics)

    def check(self, dialled: Iterable[bytes], now: float) -> None:
        """Record the use of all open connections that we dialled. Idle time counts from the first check
        without use."""
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
        """The peer whose connection was unused for longest, at least IDLE_SECONDS; None without one."""
        able = (key for key in self._records if key not in self._topics and not spared(key))
        return self._longest(able, lambda record: record.used_at, IDLE_SECONDS)

    def extra_for(self, topic: bytes, max_extra: int) -> tuple[bool, bytes | None]:
        """Whether one more extra peer of the topic may be dialled, and which earlier extra one is closed for
        it: one that gave us nothing for EXTRA_SECONDS."""
        same = [key for key, its_topic in self._topics.items() if its_topic == topic]
        if len(same) < EXTRA_PER_TOPIC and len(self._topics) < max_extra:
            return True, None
        able: Collection[bytes] = same if len(same) >= EXTRA_PER_TOPIC else self._topics
        evict = self._longest(able, lambda record: record.received_at, EXTRA_SECONDS)
        return evict is not None, evict

    def add(self, public_key: bytes, topic: bytes) -> None:
        """An extra peer is dialled."""
        self._topics[public_key] = topic

    def ended(self, public_key: bytes) -> None:
        self._topics.pop(public_key, None)

    def clear(self) -> None:
        """No connection is extra any more."""
        self._topics.clear()

    def _longest(
        self, keys: Iterable[bytes], since: Callable[[_Record], float], seconds: float
    ) -> bytes | None:
        able = [key for key in keys if key in self._records]
        key = min(able, key=lambda key: since(self._records[key]), default=None)
        if key is None or self._now - since(self._records[key]) < seconds:
            return None
        return key
