"""Limits on rows of events that workers cause. Further events are not recorded; copies and drives are updated
all the same.

Rows are counted in the memory of each control process.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from seederfarm.registry.buckets import Buckets, RateLimit
from seederfarm.registry.models import Worker
from seederfarm.registry.models.history import Severity

from .events import EventRow

WORKER: Final = RateLimit(5_000, 20.0)
"""Rows from the reports of one worker: about 9,300 on a first day, then 4,320. Ours."""
DRIVE: Final = RateLimit(24, 3_600.0)
"""Rows about one drive from one worker: 48 on a first day, then 24. So one drive does not use up the rows of
a worker. Ours."""
ALL: Final = RateLimit(200_000, 0.1)
"""Rows from all workers: about a million on a first day, then 864,000. Ours."""
NOTICE: Final = RateLimit(1, 3_600.0)
"""Rows that report omitted rows of one worker."""
REFUSAL: Final = RateLimit(1, 60.0)
"""Rows about refused messages of one worker with the same reason, apart from numbers in it."""
REFUSALS: Final = RateLimit(20, 3_600.0)
"""Rows about refused messages of one worker: 44 on a first day, then 24. Ours."""
MAX_WORKERS: Final = 10_000
"""Workers whose rows are counted; about 2 MB."""
MAX_DRIVES: Final = 200_000
"""Drives of workers whose rows are counted; about 30 MB."""


_NUMBERS: Final = re.compile(r"\d+")


class EventBudget:
    """Thread-safe."""

    def __init__(self) -> None:
        self._workers = Buckets(WORKER, MAX_WORKERS)
        self._drives = Buckets(DRIVE, MAX_DRIVES)
        self._notices = Buckets(NOTICE, MAX_WORKERS)
        self._all = Buckets(ALL, 1)
        self._lock = threading.Lock()

    def within(
        self, worker: Worker, rows: Sequence[EventRow], now: datetime, *, at: float | None = None
    ) -> list[EventRow]:
        """The events that may be recorded, and occasionally one that reports omitted ones.

        `at` is in seconds of a monotonic clock (default: now).
        """
        at = time.monotonic() if at is None else at
        with self._lock:
            kept = [row for row in rows if self._takes(worker.pk, row, at)]
            reports_omitted = len(kept) < len(rows) and self._notices.take(worker.pk, at)
        if reports_omitted:
            text = (
                f"{worker.name} reports more events than are kept; "
                f"{len(rows) - len(kept):,} of one report were left out, and more may be for an hour"
            )
            data = {"worker": worker.node_id}
            kept.append(EventRow(now, "worker.many_events", Severity.WARNING, None, worker.pk, text, data))
        return kept

    def _takes(self, worker_id: int, row: EventRow, at: float) -> bool:
        if self._workers.wait(worker_id, at) > 0 or self._all.wait(None, at) > 0:
            return False
        if row.drive_id is not None and not self._drives.take((worker_id, row.drive_id), at):
            return False
        self._workers.add(worker_id, at)
        self._all.add(None, at)
        return True


class RefusalBudget:
    """Decides which refused messages of workers become events. Thread-safe."""

    def __init__(self) -> None:
        self._reasons = Buckets(REFUSAL, MAX_WORKERS)
        self._workers = Buckets(REFUSALS, MAX_WORKERS)
        self._lock = threading.Lock()

    def admit(self, worker_id: int, reason: str, at: float) -> bool:
        """Whether to record an event. `at`: seconds of a monotonic clock."""
        key = (worker_id, _NUMBERS.sub("#", reason)[:100])
        with self._lock:
            if self._reasons.wait(key, at) > 0 or not self._workers.take(worker_id, at):
                return False
            self._reasons.add(key, at)
            return True


budget: Final = EventBudget()
refusals: Final = RefusalBudget()
