"""Notices that two machines run as one worker, as after a copy of a worker's directory.

A worker takes a random id when it starts and repeats it in its heartbeats. After a restart the former id does
not return; two machines alternate. A report of an ended run that arrives late does not count: its number is
below the first one of the run that followed. A machine whose clock is behind counts once its numbers, which
follow the clock, have passed that one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from seederfarm.registry.models import Event, Worker
from seederfarm.registry.models.history import Severity

from ..history.alerts import AlertSpec, raise_alerts

TWO_MACHINES_ALERT: Final = "worker.two_machines"


def record_run(worker: Worker, run: str, seq: int, now: datetime) -> None:
    """A heartbeat with this number came from this run of the worker. Raises an alert if the run before has
    returned. Call it in a transaction that holds the worker's row."""
    if not run or run == worker.run or seq <= worker.run_seq:
        return
    returned = run == worker.former_run
    worker.run, worker.run_seq, worker.former_run = run, seq, worker.run
    worker.save(update_fields=["run", "run_seq", "former_run"])
    if returned:
        _raise(worker, now)


def _raise(worker: Worker, now: datetime) -> None:
    text = f"Two machines run as worker {worker.name}: their reports alternate"
    spec = AlertSpec(
        kind=TWO_MACHINES_ALERT,
        subject=f"{TWO_MACHINES_ALERT}:{worker.pk}",
        text=text,
        worker_id=worker.pk,
    )
    if raise_alerts([spec], now):
        Event.objects.create(
            at=now,
            kind=TWO_MACHINES_ALERT,
            severity=Severity.WARNING,
            worker=worker,
            text=text,
            data={"worker": worker.node_id},
        )
