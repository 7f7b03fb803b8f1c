"""Why a drive has too few replicas, in words that an operator can act on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from workers.units import format_size

from .model import DriveSpec, WorkerSpec, WorkerStatus


def explain(
    drive: DriveSpec,
    missing: int,
    holders: Collection[int],
    workers: Iterable[WorkerSpec],
    free: Mapping[int, int],
) -> str:
    """Count the workers without a replica by the first reason that excludes each."""
    away = untagged = full = have = 0
    draining = weightless = 0
    roomiest = -1
    for worker in workers:
        if worker.id in holders:
            have += 1
        elif worker.status is WorkerStatus.DRAINING:
            draining += 1
        elif worker.status is not WorkerStatus.ACTIVE:
            away += 1
        elif worker.weight <= 0:
            weightless += 1
        elif not drive.tags <= worker.tags:
            untagged += 1
        elif free[worker.id] < drive.size:
            full += 1
            roomiest = max(roomiest, free[worker.id])
    reasons = []
    if full:
        reasons.append(f"{_workers(full)} short of room (the roomiest has {format_size(roomiest)})")
    if untagged:
        reasons.append(f"{_workers(untagged)} without the tag {', '.join(sorted(drive.tags))}")
    if weightless:
        reasons.append(f"{_workers(weightless)} of weight 0")
    if draining:
        reasons.append(f"{_workers(draining)} draining")
    if away:
        reasons.append(f"{_workers(away)} silent or retired")
    if have:
        reasons.append(f"{_workers(have)} with a copy already")
    found = "; ".join(reasons) if reasons else "no worker yet"
    room = f" with {format_size(drive.size)} free each" if drive.size else ""
    copies = "copy" if missing == 1 else "copies"
    return f"needs {missing} more {copies}{room}, and finds {found}"


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"
