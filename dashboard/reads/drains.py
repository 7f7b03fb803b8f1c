"""The progress of drains, for lists of workers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

from django.core.cache import cache

from seederfarm.registry.models import Worker
from seederfarm.registry.services.drains import DrainProgress, drain_progress

KEPT: Final = 30
"""Seconds for which the progress of a drain is kept."""
MAX_SHOWN: Final = 5
"""Drains whose progress a list shows: each is a query over the copies of a worker. Ours."""
MAX_DRAINED: Final = 50_000
"""Copies up to which pages compute what a drain has to move. Ours."""


def progress_of(workers: Iterable[Any]) -> dict[int, DrainProgress]:
    """Return the progress of draining workers, by primary key. `workers` have `copies`."""
    draining = [
        worker.pk
        for worker in workers
        if worker.state == Worker.State.DRAINING and 0 < worker.copies <= MAX_DRAINED
    ]
    return {pk: _kept(pk) for pk in draining[:MAX_SHOWN]}


def _kept(pk: int) -> DrainProgress:
    return cast(DrainProgress, cache.get_or_set(f"drain:{pk}", lambda: drain_progress(pk), KEPT))
