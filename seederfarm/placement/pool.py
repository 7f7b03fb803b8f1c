"""Candidates for the next replica: workers by zone, the emptiest first, updated as they fill."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from heapq import heapify, heappop, heappush
from math import inf

from .model import WorkerSpec

PROBES = 8
"""Workers of a zone that are tried before the zone counts as full. The emptiest in proportion is not always
the one with most bytes; the slow search after a failure tries all."""

_MIX = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def affinity(drive: int, worker: int) -> int:
    """A number for each pair, spread evenly, that breaks ties the same way each time."""
    mixed = (drive * _MIX ^ worker * 0xC2B2AE3D27D4EB4F) & _MASK
    mixed ^= mixed >> 29
    return mixed * 0xBF58476D1CE4E5B9 & _MASK


class Pool:
    """The workers that may get replicas, among those with certain tags.

    Two levels of heaps, so that a choice costs the logarithm of their number: zones by their best worker,
    workers by how full they are. Outdated entries stay in a heap until they reach its top.
    """

    def __init__(self, workers: Iterable[WorkerSpec], free: dict[int, int]) -> None:
        """`free` (bytes by worker) is shared by all pools of a plan and changed by `take`."""
        self._free = free
        self._capacity: dict[int, int] = {}
        self._per_byte: dict[int, float] = {}
        self._zone: dict[int, int] = {}
        self._heaps: list[list[tuple[float, int]]] = []
        self._zones: list[tuple[float, int]] = []
        self._numbers: dict[str, int] = {}
        for worker in workers:
            zone = self._numbers.setdefault(worker.zone, len(self._numbers))
            if zone == len(self._heaps):
                self._heaps.append([])
            capacity = worker.capacity_bytes or worker.free_bytes
            self._capacity[worker.id] = capacity
            self._per_byte[worker.id] = 1 / max(1.0, capacity * worker.weight)
            self._zone[worker.id] = zone
            self._heaps[zone].append((self._fullness(worker.id), worker.id))
        for zone, heap in enumerate(self._heaps):
            heapify(heap)
            self._zones.append((heap[0][0], zone))
        heapify(self._zones)

    def __len__(self) -> int:
        return len(self._zone)

    def _fullness(self, worker: int) -> float:
        """0 is empty; a worker of twice the weight fills half as fast."""
        return (self._capacity[worker] - self._free[worker]) * self._per_byte[worker]

    def has_others(self, holders: Collection[int]) -> bool:
        """Whether any worker is none of `holders`."""
        return sum(worker in self._zone for worker in holders) < len(self._zone)

    def zone_of(self, worker: int) -> int | None:
        """Index of the zone of a worker, or None if it is not in this pool."""
        return self._zone.get(worker)

    def number_of(self, zone: str) -> int | None:
        """Index of a zone by its name, or None if no worker of this pool is in it."""
        return self._numbers.get(zone)

    def choose(self, size: int, holders: Collection[int], zones: Sequence[int]) -> int | None:
        """Choose the worker for one more replica: not one of `holders`, in a zone with the fewest of them,
        with room for `size` bytes, the emptiest. `zones` has one entry for each holder in this pool's zones,
        whether it is in this pool or not.

        Returns None if the quick search finds none; `choose_slowly` is exact.
        """
        found = self._choose_new_zone(size, holders, zones)
        if found is not None or not zones:
            return found
        for zone in sorted(set(zones), key=lambda zone: (zones.count(zone), self._best(zone), zone)):
            found = self._choose_in(zone, size, holders)
            if found is not None:
                return found
        return None

    def choose_slowly(self, size: int, holders: Collection[int], zones: Sequence[int]) -> int | None:
        """Choose as `choose` does, by a search over every worker."""
        candidates = [
            (zones.count(zone), self._fullness(worker), worker)
            for worker, zone in self._zone.items()
            if worker not in holders and self._free[worker] >= size
        ]
        return min(candidates)[2] if candidates else None

    def roomiest(self) -> int:
        """Bytes that the roomiest worker can take."""
        return max((self._free[worker] for worker in self._zone), default=0)

    def changed(self, worker: int) -> None:
        """Reorder a worker whose room changed."""
        zone = self._zone[worker]
        heap = self._heaps[zone]
        heappush(heap, (self._fullness(worker), worker))
        if len(heap) > 64 + 8 * len(self._zone):
            self._heaps[zone] = heap = [(self._fullness(w), w) for w, z in self._zone.items() if z == zone]
            heapify(heap)
        heappush(self._zones, (self._best(zone), zone))
        if len(self._zones) > 64 + 8 * len(self._heaps):
            self._zones = [(self._best(z), z) for z in range(len(self._heaps))]
            heapify(self._zones)

    def _best(self, zone: int) -> float:
        """The score of the zone's best worker, after removing outdated entries."""
        heap = self._heaps[zone]
        while heap:
            score, worker = heap[0]
            if score == self._fullness(worker):
                return score
            heappop(heap)
        return inf

    def _choose_new_zone(self, size: int, holders: Collection[int], zones: Sequence[int]) -> int | None:
        aside: list[tuple[float, int]] = []
        found = None
        seen: set[int] = set()
        while self._zones and len(seen) < len(zones) + PROBES:
            entry = heappop(self._zones)
            score, zone = entry
            if zone in seen or score != self._best(zone):
                continue  # overtaken: a newer entry of the zone is further down, or was seen
            seen.add(zone)
            aside.append(entry)
            if zone not in zones:
                found = self._choose_in(zone, size, holders)
                if found is not None:
                    break
        for entry in aside:
            heappush(self._zones, entry)
        return found

    def _choose_in(self, zone: int, size: int, holders: Collection[int]) -> int | None:
        heap = self._heaps[zone]
        aside: list[tuple[float, int]] = []
        seen: set[int] = set()
        found = None
        while heap and len(aside) < PROBES + len(holders):
            entry = heappop(heap)
            score, worker = entry
            if worker in seen or score != self._fullness(worker):
                continue
            seen.add(worker)
            aside.append(entry)
            if worker not in holders and self._free[worker] >= size:
                found = worker
                break
        for entry in aside:
            heappush(heap, entry)
        return found
