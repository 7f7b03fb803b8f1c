"""Why a drive has too few replicas, in words that an operator can act on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

from workers.units import format_size

from .model import DriveSpec, WorkerSpec, WorkerStatus


class Reason(StrEnum):
    """Why a worker takes no replica of a drive, in the order in which reasons are listed."""

    FULL = "short of room"
    UNTAGGED = "without the tag"
    UNREPORTED = "without a first report"
    """Neither its capacity nor its free bytes are known."""
    WEIGHTLESS = "of weight 0"
    DRAINING = "draining"
    AWAY = "silent or retired"
    HOLDER = "with a copy already"


def explain(
    drive: DriveSpec,
    missing: int,
    holders: Collection[int],
    workers: Iterable[WorkerSpec],
    free: Mapping[int, int],
) -> str:
    """Count the workers without a replica by the first reason that excludes each."""
    counts = dict.fromkeys(Reason, 0)
    roomiest = -1
    for worker in workers:
        reason = _reason(drive, worker, holders, free)
        if reason is None:
            continue
        counts[reason] += 1
        if reason is Reason.FULL:
            roomiest = max(roomiest, free[worker.id])
    details = {
        Reason.FULL: f" (the roomiest has {format_size(roomiest)})",
        Reason.UNTAGGED: f" {', '.join(sorted(drive.tags))}",
    }
    found = "; ".join(
        f"{_workers(count)} {reason}{details.get(reason, '')}" for reason, count in counts.items() if count
    )
    room = f" with {format_size(drive.size)} free each" if drive.size else ""
    copies = "copy" if missing == 1 else "copies"
    return f"needs {missing} more {copies}{room}, and finds {found or 'no worker yet'}"


def _reason(
    drive: DriveSpec, worker: WorkerSpec, holders: Collection[int], free: Mapping[int, int]
) -> Reason | None:
    """Return what excludes a worker first; None: nothing."""
    if worker.id in holders:
        return Reason.HOLDER
    if worker.status is not WorkerStatus.ACTIVE:
        return Reason.DRAINING if worker.status is WorkerStatus.DRAINING else Reason.AWAY
    if worker.weight <= 0:
        return Reason.WEIGHTLESS
    if not drive.tags <= worker.tags:
        return Reason.UNTAGGED
    if free[worker.id] < drive.size:
        return Reason.FULL if worker.capacity_bytes or worker.free_bytes else Reason.UNREPORTED
    return None


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"
