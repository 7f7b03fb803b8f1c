"""Workers that run another version than the farm: they were not updated with it."""

from __future__ import annotations

from functools import cache

from farmwire.software import software

from .models import Worker

ours = cache(software)
"""The version of this program. An update replaces it before the process starts again."""


def has_drifted(worker: Worker) -> bool:
    """Whether a worker reported another version than this one. False for one that has reported none."""
    return bool(worker.software) and worker.software != ours()
