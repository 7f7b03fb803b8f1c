"""The room of workers, and when it is used up."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.utils import timezone

from seederfarm.registry.growth import days_left
from seederfarm.registry.models import Worker
from workers import units

FAR: Final = 5 * 365
"""Days ahead after which a forecast names no date. Ours."""


class Forecast(NamedTuple):
    """An estimate when the room of a worker is used up, from its growth of the last days."""

    at: datetime
    days: float
    growth: float
    """Bytes a day."""

    @property
    def when(self) -> str:
        """`about 24 January 2027`."""
        if self.days > FAR:
            return "in more than 5 years"
        local = timezone.localtime(self.at)
        return f"about {local.day} {local:%B %Y}"

    @property
    def takes(self) -> str:
        """`about 5 months`."""
        if self.days > FAR:
            return "more than 5 years"
        for length, word in ((365, "year"), (30, "month"), (1, "day")):
            if self.days >= 2 * length:
                return f"about {units.plural(int(self.days / length), word)}"
        return "about a day" if self.days >= 1 else "less than a day"

    @property
    def pace(self) -> str:
        """`19 GB a day`."""
        return f"{units.format_size(self.growth)} a day"


def forecast(worker: Worker, growth: float | None, now: datetime) -> Forecast | None:
    """Return when a room is full at its growth (bytes a day); None if it does not grow, or that is not
    known."""
    days = days_left(worker.free_bytes, growth)
    if days is None or growth is None:
        return None
    return Forecast(now + timedelta(days=min(days, FAR + 1)), days, growth)


def room_of(worker: Worker) -> int:
    """Return the bytes that a worker may use for content: its quota, else the bytes that it has and those
    that are free. 0: not known."""
    if worker.quota_bytes is not None:
        return worker.quota_bytes
    if worker.capacity_bytes:
        return worker.capacity_bytes
    return (worker.used_bytes or 0) + (worker.free_bytes or 0)
