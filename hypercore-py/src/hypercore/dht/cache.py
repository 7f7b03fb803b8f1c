"""Maps that forget: bounded in size and in age, without a timer or a clock per entry.

Source: xache index.js, record-cache index.js. Two generations: what was not set again while the newer one
lived is dropped with the older one. Unlike in xache, reading an entry does not renew it.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from .._types import Random

K = TypeVar("K")
V = TypeVar("V")


class _Generations:
    """When the newer generation becomes the older one."""

    __slots__ = ("_period", "_turn_at")

    def __init__(self, lifetime: float, now: float) -> None:
        self._period = lifetime * 2 / 3
        self._turn_at = now + self._period

    def turns(self, now: float) -> int:
        """How many generations have passed since the last call: none, one, or more than both."""
        if now < self._turn_at:
            return 0
        late = now >= self._turn_at + self._period
        self._turn_at = (now if late else self._turn_at) + self._period
        return 2 if late else 1


class ForgettingMap(Generic[K, V]):
    """Entries live two to four thirds of `lifetime` seconds; at most twice `max_items` are held."""

    __slots__ = ("_fresh", "_generations", "_max_items", "_stale")

    def __init__(self, *, max_items: int, lifetime: float, now: float) -> None:
        self._max_items = max_items
        self._generations = _Generations(lifetime, now)
        self._fresh: dict[K, V] = {}
        self._stale: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._fresh) + len(self._stale)

    def get(self, key: K, now: float) -> V | None:
        self._forget(now)
        value = self._fresh.get(key)
        return self._stale.get(key) if value is None else value

    def set(self, key: K, value: V, now: float) -> None:
        self._forget(now)
        self._stale.pop(key, None)
        self._fresh[key] = value
        if len(self._fresh) >= self._max_items:
            self._stale, self._fresh = self._fresh, {}

    def delete(self, key: K) -> None:
        self._fresh.pop(key, None)
        self._stale.pop(key, None)

    def _forget(self, now: float) -> None:
        for _ in range(self._generations.turns(now)):
            self._stale, self._fresh = self._fresh, {}


class PeerSets:
    """Topic to the records of the peers under it, each with the age of its own."""

    __slots__ = ("_fresh", "_generations", "_max_per_topic", "_max_records", "_size", "_stale")

    def __init__(self, *, max_records: int, max_per_topic: int, lifetime: float, now: float) -> None:
        """Both bounds are per generation: twice as many are held at most."""
        self._max_records = max_records
        self._max_per_topic = max_per_topic
        self._generations = _Generations(lifetime, now)
        self._fresh: dict[bytes, dict[bytes, bytes]] = {}
        self._stale: dict[bytes, dict[bytes, bytes]] = {}
        self._size = 0

    def add(self, topic: bytes, public_key: bytes, record: bytes, now: float) -> None:
        """The oldest record of a topic makes room for a new one if it is full."""
        self._forget(now)
        _discard(self._stale, topic, public_key)
        peers = self._fresh.setdefault(topic, {})
        if peers.pop(public_key, None) is None:
            self._size += 1
            if len(peers) >= self._max_per_topic:
                del peers[next(iter(peers))]
                self._size -= 1
        peers[public_key] = record
        if self._size >= self._max_records:
            self._turn()

    def remove(self, topic: bytes, public_key: bytes) -> None:
        _discard(self._stale, topic, public_key)
        if _discard(self._fresh, topic, public_key):
            self._size -= 1

    def sample(self, topic: bytes, count: int, rng: Random, now: float) -> list[bytes]:
        """Up to `count` records, by chance if there are more."""
        self._forget(now)
        records = [
            *self._fresh.get(topic, {}).values(),
            *self._stale.get(topic, {}).values(),
        ]
        for i in range(min(count, len(records))):
            j = i + rng.randrange(len(records) - i)
            records[i], records[j] = records[j], records[i]
        return records[:count]

    def _forget(self, now: float) -> None:
        for _ in range(self._generations.turns(now)):
            self._turn()

    def _turn(self) -> None:
        self._stale, self._fresh = self._fresh, {}
        self._size = 0


def _discard(sets: dict[bytes, dict[bytes, bytes]], topic: bytes, public_key: bytes) -> bool:
    peers = sets.get(topic)
    if peers is None or peers.pop(public_key, None) is None:
        return False
    if not peers:
        del sets[topic]
    return True
