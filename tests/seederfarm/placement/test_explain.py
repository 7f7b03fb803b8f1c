"""Why no worker takes a replica of a drive."""

from __future__ import annotations

import pytest

from seederfarm.placement.explain import explain
from seederfarm.placement.model import DriveSpec, WorkerSpec, WorkerStatus

from .specs import GB

ROOMY = WorkerSpec(1, free_bytes=100 * GB, capacity_bytes=100 * GB)
DRIVE = DriveSpec(1, GB, 2, 2)


def why(*workers: WorkerSpec, drive: DriveSpec = DRIVE, holders: tuple[int, ...] = ()) -> str:
    return explain(drive, 1, holders, workers, {worker.id: worker.free_bytes for worker in workers})


@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        (ROOMY._replace(free_bytes=5_000_000), "1 worker short of room (the roomiest has 5.0 MB)"),
        (ROOMY._replace(free_bytes=0), "1 worker short of room (the roomiest has 0 B)"),
        (ROOMY._replace(free_bytes=0, capacity_bytes=0), "1 worker without a first report"),
        (ROOMY._replace(weight=0.0), "1 worker of weight 0"),
        (ROOMY._replace(status=WorkerStatus.DRAINING), "1 worker draining"),
        (ROOMY._replace(status=WorkerStatus.SILENT), "1 worker silent or retired"),
        (ROOMY._replace(status=WorkerStatus.RETIRED), "1 worker silent or retired"),
        (ROOMY, "no worker yet"),
    ],
)
def test_the_first_reason_that_excludes_a_worker_is_named(worker: WorkerSpec, reason: str) -> None:
    assert why(worker) == f"needs 1 more copy with 1.0 GB free each, and finds {reason}"


def test_a_holder_is_counted_as_such_in_any_state() -> None:
    assert why(ROOMY._replace(status=WorkerStatus.LOST), holders=(1,)).endswith(
        "1 worker with a copy already"
    )


def test_reasons_are_counted_and_listed_in_one_order() -> None:
    lost, unreported = ROOMY._replace(status=WorkerStatus.LOST), WorkerSpec(2)
    full = [WorkerSpec(i, free_bytes=i * 10**6, capacity_bytes=GB) for i in (3, 4)]
    assert why(lost, unreported, *full).endswith(
        "2 workers short of room (the roomiest has 4.0 MB); 1 worker without a first report; "
        "1 worker silent or retired"
    )


def test_a_worker_is_asked_for_its_tags_before_its_room() -> None:
    tagged = DRIVE._replace(tags=frozenset({"ssd", "eu"}))
    assert why(WorkerSpec(1), drive=tagged).endswith("1 worker without the tag eu, ssd")
