"""What workers report of the cores that clients have their blind peers keep."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from farmwire.blind_cores import BlindCore
from seederfarm.registry.models import Worker
from seederfarm.registry.services.blind_cores import Kept, register, unregister

from .observed import time_of


def blind_cores(worker: Worker, reports: Sequence[BlindCore], now: datetime) -> None:
    """Register what is kept, and remove what is not. Call it in a transaction that holds the worker's row.

    A worker that gets no new copies may only report what is gone.
    """
    newest = {report.key: report for report in reports}
    gone = [key for key, report in newest.items() if report.client is None]
    kept = [
        Kept(
            report.key,
            report.client,
            report.announced,
            None if report.active_at is None else time_of(report.active_at),
        )
        for report in newest.values()
        if report.client is not None
    ]
    if gone:
        unregister(worker, gone, now)
    if kept and worker.state == Worker.State.ACTIVE:
        register(worker, kept, now)
