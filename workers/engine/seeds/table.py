"""The keys of an engine: in memory or cold, and totals over all.

None of it visits thousands of cold keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from time import monotonic
from typing import Any, NamedTuple

from hypercore.crypto import discovery_key

from ..model.status import SeedStatus
from .cold import Cold
from .seed import Seed
from .stage import StageMachine
from .topic import NoTopic, TopicSubscription


class TableTotals(NamedTuple):
    """Sums over all keys."""

    keys: int
    synced: int
    have_bytes: int
    bytes_in: int
    bytes_out: int
    peers: int


class WarmSeed:
    """A key that is in memory."""

    __slots__ = ("seed", "stage_machine")

    def __init__(self, seed: Seed, *, woken: bool = False) -> None:
        self.seed = seed
        self.stage_machine = StageMachine(woken=woken)


class SeedSlot:
    """A key of the table."""

    __slots__ = ("state", "topic")

    def __init__(self, state: WarmSeed | Cold, topic: TopicSubscription[Any] | NoTopic) -> None:
        self.state = state
        self.topic = topic

    def status(self, now: float) -> SeedStatus:
        """Return the status of the seed, cold or in memory."""
        state = self.state
        return state.status() if isinstance(state, Cold) else state.seed.status(now)


class SeedTable:
    """All keys, in the order of addition."""

    def __init__(self) -> None:
        self._slots: dict[bytes, SeedSlot] = {}
        self._warm: dict[bytes, WarmSeed] = {}
        self._owners: dict[bytes, tuple[bytes, ...]] = {}
        """Discovery key of a core to the cold keys it belongs to."""
        self._topics: dict[bytes, bytes] = {}
        """Topic to key, of keys in memory."""
        self._have_bytes = self._bytes_in = self._bytes_out = 0
        """Of cold keys."""

    def __contains__(self, key: bytes) -> bool:
        return key in self._slots

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._slots)

    def get(self, key: bytes) -> SeedSlot | None:
        return self._slots.get(key)

    def warm(self, key: bytes) -> WarmSeed | None:
        """The key's state in memory; None if it is cold or unknown."""
        return self._warm.get(key)

    def all_warm(self) -> Mapping[bytes, WarmSeed]:
        """Return the keys in memory, a view that changes."""
        return self._warm

    def owners(self, name: bytes) -> tuple[bytes, ...]:
        """The cold keys to which the core with that discovery key belongs."""
        return self._owners.get(name, ())

    def add(self, key: bytes, slot: SeedSlot) -> None:
        """Append a key."""
        self._slots[key] = slot
        self._enter(key, slot.state)

    def change(self, key: bytes, state: WarmSeed | Cold) -> None:
        """Make a key cold, or load it."""
        slot = self._slots[key]
        self._leave(key, slot.state)
        slot.state = state
        self._enter(key, state)

    def remove(self, key: bytes) -> SeedSlot | None:
        """Take a key out. Returns its slot, or None if there is none."""
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._leave(key, slot.state)
        return slot

    def clear(self) -> None:
        """Remove every key."""
        for index in (self._slots, self._warm, self._owners, self._topics):
            index.clear()
        self._have_bytes = self._bytes_in = self._bytes_out = 0

    def _enter(self, key: bytes, state: WarmSeed | Cold) -> None:
        if isinstance(state, WarmSeed):
            self._warm[key] = state
            self._topics[discovery_key(key)] = key
            return
        self._count(state, 1)
        for core in state.cores:
            name = discovery_key(core.key)
            self._owners[name] = (*self._owners.get(name, ()), key)

    def _leave(self, key: bytes, state: WarmSeed | Cold) -> None:
        if isinstance(state, WarmSeed):
            del self._warm[key]
            del self._topics[discovery_key(key)]
            return
        self._count(state, -1)
        for core in state.cores:
            name = discovery_key(core.key)
            others = tuple(owner for owner in self._owners[name] if owner != key)
            if others:
                self._owners[name] = others
            else:
                del self._owners[name]

    def _count(self, cold: Cold, sign: int) -> None:
        self._have_bytes += sign * cold.have_bytes
        self._bytes_in += sign * cold.bytes_in
        self._bytes_out += sign * cold.bytes_out

    # --- peers

    def has_peers(self, topic: bytes) -> bool:
        """Whether the key of a topic is connected to peers, so that looking for more is not urgent."""
        warm = self._warm.get(self._topics.get(topic, b""))
        return warm is not None and warm.seed.connected > 0

    def lacks_peers(self, topic: bytes) -> bool:
        """Whether the key of a topic has no peers, or lacks blocks and those that it has give none."""
        warm = self._warm.get(self._topics.get(topic, b""))
        return warm is None or warm.seed.lacks_peers(monotonic())

    # --- how things are

    @property
    def cold(self) -> int:
        """Number of cold keys."""
        return len(self._slots) - len(self._warm)

    def totals(self) -> TableTotals:
        """Return sums over all keys."""
        seeds = [warm.seed for warm in self._warm.values()]
        traffic = [seed.traffic for seed in seeds]
        return TableTotals(
            keys=len(self._slots),
            synced=self.cold + sum(seed.synced for seed in seeds),
            have_bytes=self._have_bytes + sum(seed.have_bytes for seed in seeds),
            bytes_in=self._bytes_in + sum(each for each, _ in traffic),
            bytes_out=self._bytes_out + sum(each for _, each in traffic),
            peers=sum(seed.peers for seed in seeds),
        )

    def slots(self, *, cold: int | None) -> list[tuple[bytes, SeedSlot]]:
        """Keys in memory, and `cold` of the others (None: all, in order)."""
        if cold is None or cold >= self.cold:
            return list(self._slots.items())
        found = [(key, self._slots[key]) for key in self._warm]
        return found + list(islice((item for item in self._slots.items() if item[0] not in self._warm), cold))
