"""Input and output of placement. Plain values, small enough to have millions of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from farmwire.gaps import Holding


class WorkerStatus(StrEnum):
    """The liveness of a worker, as placement uses it."""

    ACTIVE = "active"
    """Takes new replicas; its replicas count."""
    SILENT = "silent"
    """Missed heartbeats, but within its grace: its replicas count, it gets no new ones."""
    DRAINING = "draining"
    """Its replicas stay until others have them; they do not count."""
    LOST = "lost"
    """Silent past its grace: its replicas do not count towards the minimum. They stay assigned, so that the
    surplus can be released when the worker returns."""
    RETIRED = "retired"
    """No longer part of the farm. Its replicas are released at once."""


class WorkerSpec(NamedTuple):
    """A worker as the planner sees it."""

    id: int
    """Local number; breaks ties."""
    status: WorkerStatus = WorkerStatus.ACTIVE
    zone: str = ""
    """Failure domain. Replicas are spread over zones before any zone has two."""
    tags: frozenset[str] = frozenset()
    free_bytes: int = 0
    """Bytes for new replicas, less headroom and what is assigned but not yet downloaded."""
    capacity_bytes: int = 0
    """Bytes of its quota; workers are filled evenly, each in proportion to it. 0: what is free now."""
    weight: float = 1.0
    """Its share beside others of the same capacity. 0: only what is pinned to it."""
    expected: bool = False
    """Lost for so short a time that it may return: its replicas count towards the maximum."""


class DriveSpec(NamedTuple):
    """A drive as the planner sees it."""

    id: int
    """Local number; breaks ties together with a worker's, the same way each time."""
    size: int
    """Bytes of a replica, estimated by the caller where unknown."""
    replicas_min: int = 1
    """Fewer are too few: they are made first, and explained where no worker takes one."""
    replicas_max: int = 1
    """So many are made where there is room."""
    priority: int = 5
    """0 is placed first when room is short."""
    pinned: frozenset[int] = frozenset()
    """Workers that must have it, whatever the counts."""
    tags: frozenset[str] = frozenset()
    """Only workers with all of these are chosen."""
    removing: bool = False
    """Every replica is released, also the last."""


class ReplicaState(NamedTuple):
    """A replica that is desired now."""

    worker: int
    complete: bool
    """Every available block is stored, by its last report, and it has proven that since."""
    have: int = 0
    """Blocks that it has, to rank incomplete ones."""
    holding: Holding | None = None
    """Which blocks it has. None: every known block, or none yet; then it is None for all replicas of the
    drive."""
    unproven: bool = False
    """Whether it reports to be complete and has not proven that: it replaces no other copy."""
    empty: bool = False
    """It is a complete copy of nothing: there is nothing to lose with it."""


class Assign(NamedTuple):
    """A replica to make."""

    drive: int
    worker: int
    bytes: int


class Release(NamedTuple):
    """A replica to release."""

    drive: int
    worker: int
    reason: ReleaseReason


class ReleaseReason(StrEnum):
    """Why a replica is released."""

    REMOVED = "the drive is being removed"
    SURPLUS = "more copies than the maximum, and enough others have all of it"
    DRAINED = "the worker is being drained, and enough others have all of it"
    RETIRED = "the worker is retired"


class Unplaced(NamedTuple):
    """A drive with too few replicas, and why no worker could take one."""

    drive: int
    missing: int
    """Replicas below the minimum."""
    why: str


class Plan(NamedTuple):
    """The moves that follow from drives, workers and replicas."""

    assign: list[Assign]
    release: list[Release]
    unplaced: list[Unplaced]

    @property
    def bytes(self) -> int:
        """Bytes to download for it."""
        return sum(move.bytes for move in self.assign)


Replicas = Mapping[int, Iterable[ReplicaState]]
"""By drive. Drives that are absent have none."""
