"""What placement is told, and what it answers. Plain values, small enough to have millions of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from farmwire.gaps import Holding


class WorkerStatus(StrEnum):
    """How far a worker can be counted on."""

    ACTIVE = "active"
    """Takes new replicas, and those it has count."""
    SILENT = "silent"
    """Not heard of for a while, but within its grace: what it has counts, it is given nothing new."""
    DRAINING = "draining"
    """Its replicas stay until others have them; they do not count."""
    LOST = "lost"
    """Silent past its grace: what it has does not count. It stays assigned, so that whichever copy is the
    surplus can be released when the worker comes back."""
    RETIRED = "retired"
    """Not part of the farm any more. Its replicas are released at once."""


class WorkerSpec(NamedTuple):
    id: int
    """Local number; ties are broken by it."""
    standing: WorkerStatus = WorkerStatus.ACTIVE
    zone: str = ""
    """Failure domain. Copies are spread over zones before any zone has two."""
    tags: frozenset[str] = frozenset()
    free_bytes: int = 0
    """Room for new replicas, headroom taken off, and what it has been assigned and not downloaded yet,
    too."""
    capacity_bytes: int = 0
    """Its quota; workers are filled evenly, each in proportion to it. 0: what is free now."""
    weight: float = 1.0
    """Its share beside others of the same capacity. 0: nothing but what is pinned to it."""


class DriveSpec(NamedTuple):
    id: int
    """Local number; together with a worker's it decides between equals, the same way each time."""
    size: int
    """Bytes a replica takes. What is not known yet is best guessed by the caller."""
    replicas_min: int = 1
    replicas_max: int = 1
    priority: int = 5
    """0 is placed first, where there is not room for all."""
    pinned: frozenset[int] = frozenset()
    """Workers that must have it, whatever the numbers say."""
    tags: frozenset[str] = frozenset()
    """Only workers with all of these are chosen."""
    removing: bool = False
    """Nobody shall keep it: every replica is released, the last one too."""


class ReplicaState(NamedTuple):
    """A replica that is desired now."""

    worker: int
    complete: bool
    """Every block that anybody is known to have is there, as it reported last."""
    have: int = 0
    """Blocks it has, to tell the better of two incomplete ones."""
    holding: Holding | None = None
    """Which blocks it has. None: all that are known, or none yet; so it is for all replicas of the drive."""


class Assign(NamedTuple):
    drive: int
    worker: int
    bytes: int


class Release(NamedTuple):
    drive: int
    worker: int
    reason: ReleaseReason


class ReleaseReason(StrEnum):
    REMOVED = "the drive is being removed"
    SURPLUS = "more copies than the maximum, and enough others have all of it"
    DRAINED = "the worker is being drained, and enough others have all of it"
    RETIRED = "the worker is retired"


class Unplaced(NamedTuple):
    """A drive that has fewer replicas than it should, and why no worker could take it."""

    drive: int
    missing: int
    """Replicas to the minimum."""
    why: str


class Plan(NamedTuple):
    assign: list[Assign]
    release: list[Release]
    unplaced: list[Unplaced]

    @property
    def bytes(self) -> int:
        """What will be downloaded for it."""
        return sum(move.bytes for move in self.assign)


Replicas = Mapping[int, Iterable[ReplicaState]]
"""By drive. Drives that are not in it have none."""
