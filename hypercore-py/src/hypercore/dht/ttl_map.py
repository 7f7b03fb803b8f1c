"""Maps bounded in size and age, without a timer per entry.

Source: xache index.js, record-cache index.js. Two generations: entries that were not set again in the newer
one are dropped with the older one. Unlike in xache, reading an entry does not renew it.
"""

from __future__ import annotations

from itertools import islice
from typing import Generic, TypeVar

from .._types import Random

ENTRY_BYTES = 700
"""Bytes of an `OwnedMap` entry and its owner beside key and value. Measured, rounded up."""

K = TypeVar("K")
V = TypeVar("V")


MIN_SHARE = 4
"""Entries that each owner may add while there is any room."""


def share(taken: int, limit: int) -> int:
    """Entries that one owner may have while all owners together have `taken` of `limit`.

    A single owner may have more than a third. The share falls as the map fills, so that only hundreds of
    owners together can fill it.
    """
    return max(MIN_SHARE, (limit - taken) ** 2 // limit)


class _Generations:
    """The clock of two generations."""

    __slots__ = ("_period", "_turn_at")

    def __init__(self, lifetime: float, now: float) -> None:
        self._period = lifetime * 2 / 3
        self._turn_at = now + self._period

    def turns(self, now: float) -> int:
        """Generations passed since the last call: 0, 1, or 2 for all."""
        if now < self._turn_at:
            return 0
        late = now >= self._turn_at + self._period
        self._turn_at = (now if late else self._turn_at) + self._period
        return 2 if late else 1


class TtlMap(Generic[K, V]):
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
        self._expire(now)
        value = self._fresh.get(key)
        return self._stale.get(key) if value is None else value

    def set(self, key: K, value: V, now: float) -> None:
        self._expire(now)
        self._stale.pop(key, None)
        self._fresh[key] = value
        if len(self._fresh) >= self._max_items:
            self._turn()

    def delete(self, key: K) -> None:
        self._fresh.pop(key, None)
        self._stale.pop(key, None)

    def _expire(self, now: float) -> None:
        for _ in range(self._generations.turns(now)):
            self._turn()

    def _turn(self) -> None:
        self._stale, self._fresh = self._fresh, {}


class SharedTtlMap(TtlMap[K, V]):
    """A map whose entries have owners. Each owner may add its `share` in a generation."""

    __slots__ = ("_of_owner",)

    def __init__(self, *, max_items: int, lifetime: float, now: float) -> None:
        super().__init__(max_items=max_items, lifetime=lifetime, now=now)
        self._of_owner: dict[str, int] = {}

    def bring(self, key: K, value: V, now: float, owner: str) -> bool:
        """Set an entry. False if the owner has its share of new ones."""
        self._expire(now)
        if key not in self._fresh:
            brought = self._of_owner.get(owner, 0)
            if brought >= share(len(self._fresh), self._max_items):
                return False
            self._of_owner[owner] = brought + 1
        self.set(key, value, now)
        return True

    def _turn(self) -> None:
        super()._turn()
        self._of_owner = {}


class OwnedMap(Generic[K, V]):
    """Values with owners, bounded in bytes over all and for each owner.

    An owner's oldest values make room for its new ones. When there is no room at all, it is an owner with the
    most bytes (within a factor of two) that loses its oldest, so that a few of them cannot push out the
    values of owners with few.
    """

    __slots__ = (
        "_by_size",
        "_lifetime",
        "_max_bytes",
        "_max_bytes_per_owner",
        "_of_owner",
        "_values",
        "size",
    )

    def __init__(self, *, max_bytes: int, max_bytes_per_owner: int, lifetime: float) -> None:
        """`lifetime` in seconds."""
        self.size = 0
        """Bytes of all values, including overhead."""
        self._max_bytes = max_bytes
        self._max_bytes_per_owner = max_bytes_per_owner
        self._lifetime = lifetime
        self._values: dict[K, _Owned[V]] = {}
        """Values, the oldest first."""
        self._of_owner: dict[str, _Owner[K]] = {}
        self._by_size: list[dict[str, None]] = [{} for _ in range(max_bytes_per_owner.bit_length() + 1)]
        """Owners by the bits of their size, in the order in which they came to it."""

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K, now: float) -> V | None:
        entry = self._values.get(key)
        if entry is None or now - entry.set_at >= self._lifetime:
            return None
        return entry.value

    def set(self, key: K, value: V, size: int, owner: str, now: float) -> None:
        """Set a value. `size`: bytes of key and value. A value that is there passes to the new owner only if
        that has fewer bytes: values of others cannot be drawn into a large account, to have them dropped."""
        size += ENTRY_BYTES
        before = self._values.get(key)
        if before is not None and self._bytes_of(before.owner) <= self._bytes_of(owner):
            owner = before.owner
        self.delete(key)
        if size > self._max_bytes_per_owner:
            return
        while self._bytes_of(owner) + size > self._max_bytes_per_owner:
            self.delete(next(iter(self._of_owner[owner].keys)))
        for oldest in list(islice(self._values, 2)):  # at most two at a time: expired ones cannot accumulate
            if now - self._values[oldest].set_at >= self._lifetime:
                self.delete(oldest)
        while self.size + size > self._max_bytes:
            largest = next(iter(next(filter(None, reversed(self._by_size)))))
            self.delete(next(iter(self._of_owner[largest].keys)))
        account = self._of_owner.setdefault(owner, _Owner())
        account.keys[key] = None
        self._resize(owner, account, size)
        self._values[key] = _Owned(value, size, owner, now)

    def delete(self, key: K) -> None:
        entry = self._values.pop(key, None)
        if entry is None:
            return
        account = self._of_owner[entry.owner]
        del account.keys[key]
        self._resize(entry.owner, account, -entry.size)
        if not account.keys:
            del self._of_owner[entry.owner]

    def _bytes_of(self, owner: str) -> int:
        account = self._of_owner.get(owner)
        return 0 if account is None else account.size

    def _resize(self, owner: str, account: _Owner[K], change: int) -> None:
        before = account.size.bit_length()
        account.size += change
        self.size += change
        after = account.size.bit_length()
        if after != before:
            self._by_size[before].pop(owner, None)
            if after:
                self._by_size[after][owner] = None


class _Owned(Generic[V]):
    __slots__ = ("owner", "set_at", "size", "value")

    def __init__(self, value: V, size: int, owner: str, now: float) -> None:
        self.value = value
        self.size = size
        self.owner = owner
        self.set_at = now


class _Owner(Generic[K]):
    __slots__ = ("keys", "size")

    def __init__(self) -> None:
        self.keys: dict[K, None] = {}
        self.size = 0


class RecordCache:
    """Records of peers by topic, each with its own age."""

    __slots__ = (
        "_fresh",
        "_generations",
        "_max_per_owner",
        "_max_per_topic",
        "_max_records",
        "_of_owner",
        "_size",
        "_stale",
    )

    def __init__(
        self, *, max_records: int, max_per_topic: int, max_per_owner: int, lifetime: float, now: float
    ) -> None:
        """Bounds are per generation: at most twice as many are held."""
        self._max_per_owner = max_per_owner
        self._of_owner: dict[str, int] = {}
        self._max_records = max_records
        self._max_per_topic = max_per_topic
        self._generations = _Generations(lifetime, now)
        self._fresh: dict[bytes, dict[bytes, bytes]] = {}
        self._stale: dict[bytes, dict[bytes, bytes]] = {}
        self._size = 0

    def add(self, topic: bytes, public_key: bytes, record: bytes, now: float, owner: str = "") -> bool:
        """Add a record. It replaces the oldest one of a full topic. False if `owner` has its share of new
        ones (see `share`)."""
        self._expire(now)
        peers = self._fresh.get(topic, {})
        if public_key not in peers:
            brought = self._of_owner.get(owner, 0)
            if brought >= min(self._max_per_owner, share(self._size, self._max_records)):
                return False
            self._of_owner[owner] = brought + 1
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
        return True

    def remove(self, topic: bytes, public_key: bytes) -> None:
        _discard(self._stale, topic, public_key)
        if _discard(self._fresh, topic, public_key):
            self._size -= 1

    def sample(self, topic: bytes, count: int, rng: Random, now: float) -> list[bytes]:
        """Up to `count` records, a random sample if there are more."""
        self._expire(now)
        records = [
            *self._fresh.get(topic, {}).values(),
            *self._stale.get(topic, {}).values(),
        ]
        for i in range(min(count, len(records))):
            j = i + rng.randrange(len(records) - i)
            records[i], records[j] = records[j], records[i]
        return records[:count]

    def _expire(self, now: float) -> None:
        for _ in range(self._generations.turns(now)):
            self._turn()

    def _turn(self) -> None:
        self._stale, self._fresh = self._fresh, {}
        self._of_owner = {}
        self._size = 0


def _discard(sets: dict[bytes, dict[bytes, bytes]], topic: bytes, public_key: bytes) -> bool:
    peers = sets.get(topic)
    if peers is None or peers.pop(public_key, None) is None:
        return False
    if not peers:
        del sets[topic]
    return True
