"""Liveness of workers, from the time of their last report."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from seederfarm.placement.model import WorkerStatus
from seederfarm.registry import stored_health
from seederfarm.registry.models import Drive, Event, Worker
from seederfarm.registry.models.history import Severity
from seederfarm.registry.models.worker import SILENT_AFTER, silent_since

from ..history import alerts

EXPECTED_FOR: Final = timedelta(days=1)
"""Time since a worker was lost in which its copies beyond the minimum are not made elsewhere: it may return.
Ours."""


class OutageDetector:
    """The time since which this control plane has received reports without a break.

    After an outage of control or broker all workers seem lost. So none is marked lost before reports have
    arrived for a whole grace without a break.
    """

    def __init__(self, since: datetime | None = None) -> None:
        self._lock = threading.Lock()
        self.since = since

    def update(self, newest: datetime | None, now: datetime, timeout: timedelta) -> datetime | None:
        """Record the time of the newest report of any worker; None: there is none.

        Returns since when reports have arrived with no gap longer than `timeout`, or None.
        """
        with self._lock:
            if newest is None or newest < now - timeout:
                self.since = None
            elif self.since is None:
                self.since = now
            return self.since


OUTAGES: Final = OutageDetector()


class WorkerRow(NamedTuple):
    """A worker as the reconciler needs it."""

    id: int
    name: str
    node_id: str
    state: str
    zone: str
    tags: tuple[str, ...]
    weight: float
    free_bytes: int
    capacity_bytes: int
    last_seen_at: datetime | None
    enrolled_at: datetime
    lost_since: datetime | None

    @property
    def reported_at(self) -> datetime:
        """The last heartbeat, or the time of joining before the first."""
        return self.last_seen_at or self.enrolled_at


def workers() -> list[WorkerRow]:
    """All admitted workers."""
    rows = Worker.objects.exclude(state=Worker.State.PENDING).order_by("pk").values_list(
        "pk", "name", "node_id", "state", "zone", "tags", "weight", "free_bytes", "capacity_bytes",
        "last_seen_at", "enrolled_at", "lost_since",
    )  # fmt: skip
    return [
        WorkerRow(*row[:5], tuple(row[5] or ()), row[6], row[7] or 0, row[8] or 0, *row[9:]) for row in rows
    ]


def status_of(worker: WorkerRow, now: datetime) -> WorkerStatus:
    """The status that placement counts with. A lost worker that drains is lost."""
    if worker.state == Worker.State.RETIRED:
        return WorkerStatus.RETIRED
    if worker.lost_since is not None:
        return WorkerStatus.LOST
    if worker.state == Worker.State.DRAINING:
        return WorkerStatus.DRAINING
    return WorkerStatus.SILENT if worker.reported_at < silent_since(now) else WorkerStatus.ACTIVE


def is_expected(worker: WorkerRow, now: datetime) -> bool:
    """Whether a worker was lost lately, and may return."""
    if worker.lost_since is None or worker.state == Worker.State.RETIRED:
        return False
    return worker.lost_since > now - EXPECTED_FOR


def check(now: datetime | None = None, outages: OutageDetector = OUTAGES) -> list[WorkerRow]:
    """Mark newly lost workers, and queue planning of their drives. Returns all workers."""
    now = now or timezone.now()
    all_of_them = workers()
    for worker in _newly_lost(all_of_them, now, outages):
        _mark_lost(worker, now)
    return workers() if all_of_them else []


def _newly_lost(all_of_them: Sequence[WorkerRow], now: datetime, outages: OutageDetector) -> list[WorkerRow]:
    farm = settings.FARM
    grace = timedelta(seconds=max(farm.worker_grace, SILENT_AFTER * farm.heartbeat))
    in_use = [worker for worker in all_of_them if worker.state != Worker.State.RETIRED]
    newest = max((w.last_seen_at for w in in_use if w.last_seen_at is not None), default=None)
    since = outages.update(newest, now, timedelta(seconds=SILENT_AFTER * farm.heartbeat))
    if len(in_use) > 1 and (since is None or since > now - grace):
        return []  # with one worker there is no other place for its copies
    return [w for w in in_use if w.lost_since is None and w.reported_at < now - grace]


def _mark_lost(worker: WorkerRow, now: datetime) -> None:
    with transaction.atomic():
        # It may have reported meanwhile.
        rows = Worker.objects.filter(pk=worker.id, lost_since=None, last_seen_at=worker.last_seen_at)
        if rows.update(lost_since=now) != 1:
            return
        Drive.objects.filter(replicas__worker_id=worker.id, dirty=False).update(dirty=True)
        stored_health.changed_on([worker.id], now)
        silent = (now - worker.reported_at).total_seconds()
        text = f"{worker.name} has not reported for {silent:.0f} s: drives that need its copies get others"
        Event.objects.create(
            at=now,
            kind="worker.lost",
            severity=Severity.WARNING,
            worker_id=worker.id,
            text=text,
            data={"worker": worker.node_id},
        )
        spec = alerts.AlertSpec(
            kind="worker.lost",
            subject=f"worker.lost:{worker.id}",
            text=text,
            hint="Is the machine up, and does it reach the broker? Its surplus copies go when it returns.",
            worker_id=worker.id,
        )
        alerts.raise_alerts([spec], now)
