"""The plan: which replicas to make and which to release.

The rules, in their order:

1. A drive that is being removed is released everywhere; everything on a retired worker is released.
2. Pinned workers get their replica.
3. Replicas on active and silent workers count. Below the minimum, new ones are made up to the maximum.
   Then, where there is room left, drives between the two get new ones up to the maximum. There replicas on
   workers that were lost lately count, too, so that a worker that comes and goes moves nothing.
4. A replica on a draining worker, or one above the maximum, is released once as many active workers as the
   minimum have every block that it has *without* it, whether that is all of the drive or not. So no release
   takes the fullest replica, nor one with blocks that no other has.
5. New replicas go to zones that have the fewest, there to the worker that is emptiest. A worker without
   weight gets none.

Given the same input, the plan is the same, move for move.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from farmwire.gaps import stands_in

from .explain import explain
from .model import (
    Assign,
    DriveSpec,
    Plan,
    Release,
    ReleaseReason,
    Replicas,
    ReplicaState,
    Unplaced,
    WorkerSpec,
    WorkerStatus,
)
from .pool import Pool, affinity

MAX_EXPLAINED = 1000
"""Unplaced drives of a plan that get an explanation. Each costs a pass over all workers."""

MAX_FUTILE: Final = 1000
"""Searches for room beyond the minimum that may fail in a plan before it stops them: each costs a pass over
all workers. Ours."""

_COUNTS = (WorkerStatus.ACTIVE, WorkerStatus.SILENT)


def plan(drives: Iterable[DriveSpec], workers: Iterable[WorkerSpec], replicas: Replicas) -> Plan:
    """Plan the changes for `drives`, given all `workers` and the desired replicas of these drives.

    `drives` may be a part. A plan of all drives equals their plans one after the other, as long as room does
    not run out.
    """
    planner = _Planner(workers)
    for drive in sorted(drives, key=lambda drive: (drive.priority, drive.id)):
        planner.plan_drive(drive, replicas.get(drive.id, ()))
    planner.fill_to_maximum()
    return Plan(planner.assign, planner.release, planner.unplaced)


def takes_new(worker: WorkerSpec) -> bool:
    """Whether it gets replicas that are not pinned to it."""
    return worker.status is WorkerStatus.ACTIVE and worker.weight > 0


class _Wish(NamedTuple):
    """A drive that has its minimum, and fewer replicas than its maximum."""

    drive: DriveSpec
    placed: list[int]
    """Workers whose replicas count towards the maximum."""
    holders: set[int]


class _Planner:
    def __init__(self, workers: Iterable[WorkerSpec]) -> None:
        self.assign: list[Assign] = []
        self.release: list[Release] = []
        self.unplaced: list[Unplaced] = []
        self._workers = {worker.id: worker for worker in workers}
        self._free = {worker.id: worker.free_bytes for worker in self._workers.values()}
        self._pools: dict[frozenset[str], Pool] = {}
        self._pools_of: dict[int, list[Pool]] = {}
        self._room: dict[frozenset[str], int] = {}
        """Bytes of the roomiest worker of a pool when last computed: room only shrinks during a plan."""
        self._wishes: list[_Wish] = []

    def plan_drive(self, drive: DriveSpec, held: Iterable[ReplicaState]) -> None:
        counted: list[ReplicaState] = []
        leaving: list[ReplicaState] = []
        expected: list[int] = []
        holders: set[int] = set()
        for replica in held:
            worker = self._workers.get(replica.worker)
            status = WorkerStatus.RETIRED if worker is None else worker.status
            if drive.removing or status is WorkerStatus.RETIRED:
                reason = ReleaseReason.REMOVED if drive.removing else ReleaseReason.RETIRED
                self.release.append(Release(drive.id, replica.worker, reason))
                continue
            holders.add(replica.worker)
            if status in _COUNTS:
                counted.append(replica)
            elif status is WorkerStatus.DRAINING:
                leaving.append(replica)
            elif worker is not None and worker.expected:
                expected.append(worker.id)
        if drive.removing:
            return
        placed = [replica.worker for replica in counted] + self._assign_pins(drive, holders)
        have = len(placed)
        if have < drive.replicas_min:
            self._fill(drive, placed, holders)
        elif have + len(expected) < drive.replicas_max and self._pool(drive.tags).has_others(holders):
            self._wishes.append(_Wish(drive, placed + expected, holders))
        if leaving or have > drive.replicas_max:
            self._release(drive, counted, leaving)

    # --- making replicas

    def _assign_pins(self, drive: DriveSpec, holders: set[int]) -> list[int]:
        made = []
        for worker_id in sorted(drive.pinned - holders):
            worker = self._workers.get(worker_id)
            if worker is None or worker.status is not WorkerStatus.ACTIVE:
                continue
            if self._free[worker_id] < drive.size:
                room = f"{self._free[worker_id]} of {drive.size} bytes"
                why = f"pinned to worker {worker_id}, which has room for {room}"
                self.unplaced.append(Unplaced(drive.id, 1, why))
                continue
            self._make(drive, worker_id, holders)
            made.append(worker_id)
        return made

    def _fill(self, drive: DriveSpec, placed: Sequence[int], holders: set[int]) -> None:
        have = len(placed) + self._make_more(drive, placed, holders)
        if have < drive.replicas_min:
            self._explain(drive, drive.replicas_min - have, holders)

    def fill_to_maximum(self) -> None:
        """Make replicas beyond the minimum in the room that is left."""
        futile = 0
        for wish in self._wishes:
            if not self._make_more(*wish):
                futile += 1
                if futile >= MAX_FUTILE:
                    break
        self._wishes.clear()

    def _make_more(self, drive: DriveSpec, placed: Sequence[int], holders: set[int]) -> int:
        """Make replicas beside those on `placed` up to the maximum, as far as there is room. Returns how
        many."""
        pool = self._pool(drive.tags)
        # Of workers outside of the pool (silent, or pinned in spite of their tags), too: a copy is there.
        numbers = [pool.number_of(self._workers[worker].zone) for worker in placed]
        zones = [number for number in numbers if number is not None]
        wanted = max(drive.replicas_min, drive.replicas_max) - len(placed)
        for made in range(wanted):
            worker = self._choose(pool, drive, holders, zones)
            if worker is None:
                return made
            self._make(drive, worker, holders)
            zone = pool.zone_of(worker)
            assert zone is not None  # it was chosen from this pool
            zones.append(zone)
        return max(0, wanted)

    def _choose(self, pool: Pool, drive: DriveSpec, holders: set[int], zones: list[int]) -> int | None:
        room = self._room.get(drive.tags)
        if room is not None and drive.size > room:
            return None
        worker = pool.choose(drive.size, holders, zones)
        if worker is None:
            worker = pool.choose_slowly(drive.size, holders, zones)
        if worker is None:
            self._room[drive.tags] = pool.roomiest()
        return worker

    def _make(self, drive: DriveSpec, worker: int, holders: set[int]) -> None:
        self.assign.append(Assign(drive.id, worker, drive.size))
        holders.add(worker)
        self._free[worker] -= drive.size
        for pool in self._pools_of.get(worker, ()):
            pool.changed(worker)

    def _pool(self, tags: frozenset[str]) -> Pool:
        pool = self._pools.get(tags)
        if pool is None:
            fit = [w for w in self._workers.values() if takes_new(w) and tags <= w.tags]
            pool = self._pools[tags] = Pool(fit, self._free)
            for worker in fit:
                self._pools_of.setdefault(worker.id, []).append(pool)
        return pool

    def _explain(self, drive: DriveSpec, missing: int, holders: set[int]) -> None:
        if len(self.unplaced) < MAX_EXPLAINED:
            why = explain(drive, missing, holders, self._workers.values(), self._free)
        else:
            why = f"needs {missing} more {'copy' if missing == 1 else 'copies'}, and no worker can take it"
        self.unplaced.append(Unplaced(drive.id, missing, why))

    # --- letting go

    def _release(self, drive: DriveSpec, counted: list[ReplicaState], leaving: list[ReplicaState]) -> None:
        needed = max(1, drive.replicas_min)
        active = [r for r in counted if self._workers[r.worker].status is WorkerStatus.ACTIVE]
        for replica in leaving:
            if replica.empty or _stand_ins(replica, active) >= needed:
                self.release.append(Release(drive.id, replica.worker, ReleaseReason.DRAINED))
        surplus = len(counted) - drive.replicas_max
        if surplus <= 0:
            return
        for replica in self._release_order(drive, counted):
            rest = [other for other in active if other is not replica]
            if not replica.empty and _stand_ins(replica, rest) < needed:
                continue
            self.release.append(Release(drive.id, replica.worker, ReleaseReason.SURPLUS))
            active = rest
            surplus -= 1
            if surplus == 0:
                return

    def _is_safe(self, replica: ReplicaState) -> bool:
        return replica.complete and self._workers[replica.worker].status is WorkerStatus.ACTIVE

    def _release_order(self, drive: DriveSpec, counted: list[ReplicaState]) -> list[ReplicaState]:
        """In the order of release: incomplete ones, those in crowded zones, those on workers short of
        room."""
        crowd: dict[str, int] = {}
        for replica in counted:
            zone = self._workers[replica.worker].zone
            crowd[zone] = crowd.get(zone, 0) + 1

        def wanted(replica: ReplicaState) -> tuple[bool, int, int, int, int]:
            worker = self._workers[replica.worker]
            room = self._free[worker.id]
            return (
                self._is_safe(replica),
                replica.have,
                -crowd[worker.zone],
                room,
                affinity(drive.id, worker.id),
            )

        return sorted((r for r in counted if r.worker not in drive.pinned), key=wanted)


def _stand_ins(replica: ReplicaState, others: Sequence[ReplicaState]) -> int:
    """How many of the others have every block that `replica` has."""
    return sum(1 for other in others if _stands_in(other, replica))


def _stands_in(other: ReplicaState, replica: ReplicaState) -> bool:
    if other.unproven:
        return False
    if other.holding is None or replica.holding is None:
        return other.complete
    done = replica.complete or replica.unproven
    return stands_in(other.holding, replica.holding, complete=other.complete, other_complete=done)
