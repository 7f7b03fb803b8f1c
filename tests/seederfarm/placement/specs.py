"""Drives, workers and replicas as the planner takes them."""

from __future__ import annotations

from dataclasses import dataclass, field

from seederfarm.placement.model import (
    DriveSpec,
    Plan,
    ReplicaState,
    WorkerSpec,
    WorkerStatus,
)

GB = 10**9


def workers(*zones: str, free: int = 100 * GB) -> list[WorkerSpec]:
    return [WorkerSpec(i, zone=zone, free_bytes=free, capacity_bytes=free) for i, zone in enumerate(zones)]


def drive(low: int = 2, high: int | None = None, **more: object) -> DriveSpec:
    return DriveSpec(1, GB, low, high or low, **more)  # type: ignore[arg-type]


def released(result: Plan) -> list[int]:
    return sorted(move.worker for move in result.release)


def with_status(specs: list[WorkerSpec], worker: int, what: WorkerStatus) -> list[WorkerSpec]:
    return [spec._replace(status=what) if spec.id == worker else spec for spec in specs]


@dataclass
class Farm:
    specs: list[WorkerSpec]
    drives: list[DriveSpec]
    replicas: dict[int, list[ReplicaState]] = field(default_factory=dict)


def complete(farm: Farm, states: list[ReplicaState]) -> int:
    present = {spec.id for spec in farm.specs if spec.status is not WorkerStatus.RETIRED}
    return sum(state.complete and state.worker in present for state in states)
