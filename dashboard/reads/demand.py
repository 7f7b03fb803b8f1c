"""The demand for a drive: the bytes that its copies have sent to peers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from seederfarm.registry.models import Drive, Sample
from workers import units

DAYS: Final = 30
WIDE, HIGH = 100.0, 28.0
"""Units of the drawing."""
LOWEST: Final = 1.0
"""Units of the lowest bar of a day with any byte."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Bytes served, in all and by day."""

    total: int
    """Since the drive was added."""
    times: str
    """How often that is its size; empty: less than once, or its size is not known."""
    last_at: datetime | None
    bars: list[tuple[str, str, str]]
    """Place, upper edge and height of each day; empty: nothing in these days."""
    sentence: str


def demand_of(drive: Drive, now: datetime) -> Demand:
    """Return the bytes served of a drive. One query."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = today - timedelta(days=DAYS - 1)
    rows = Sample.objects.filter(
        scope=Sample.Scope.DRIVE, subject=drive.pk, metric="bytes_up", span=86400, at__gte=first
    )
    days = [0.0] * DAYS
    for at, size in rows.values_list("at", "total"):
        days[min(DAYS - 1, max(0, (at - first).days))] += size
    top = max(days)
    step = WIDE / DAYS
    bars = []
    for number, size in enumerate(days):
        if size:
            high = max(LOWEST, HIGH * size / top)
            bars.append((f"{number * step:.1f}", f"{HIGH - high:.1f}", f"{high:.1f}"))
    times = drive.served_bytes / drive.byte_length if drive.byte_length else 0.0
    return Demand(
        total=drive.served_bytes,
        times=f"{int(times):,} times its size" if times >= 2 else "",
        last_at=drive.served_at,
        bars=bars,
        sentence=f"Served a day, last {DAYS} days: {units.format_size(sum(days))} in all",
    )
