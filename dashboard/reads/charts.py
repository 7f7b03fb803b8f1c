"""Charts as SVG from the server: no script, no style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Sum
from django.utils import timezone

from seederfarm.registry.models import Sample
from workers import units

HOURS: Final = 24
STEP: Final = 900
"""Seconds of a point: the coarser of the two spans that a day may have."""
WIDE, HIGH = 960.0, 160.0
"""Units of the drawing."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of transfer rates, as points of SVG."""

    up: str
    """Points of an area."""
    down: str
    """Points of a line."""
    top: float
    """Bytes a second at the upper edge."""
    sentence: str
    marks: tuple[tuple[float, str], ...]
    """Hours along the lower edge."""


def rates(now: datetime, worker: int | None = None) -> Chart | None:
    """Bytes sent and received in the last day, of all workers or of one. None: nothing was measured. One
    query."""
    end = int(now.timestamp()) // STEP * STEP
    start = end - HOURS * 3600
    rows = Sample.objects.filter(
        scope=Sample.Scope.WORKER,
        metric__in=["bytes_up", "bytes_down"],
        at__gte=datetime.fromtimestamp(start, now.tzinfo),
    )
    if worker is not None:
        rows = rows.filter(subject=worker)
    sums = rows.order_by().values_list("metric", "at").annotate(n=Sum("total"))
    count = HOURS * 3600 // STEP + 1
    found = {"bytes_up": [0.0] * count, "bytes_down": [0.0] * count}
    for metric, at, total in sums:
        place = min(count - 1, (int(at.timestamp()) - start) // STEP)
        found[metric][place] += total / STEP
    up, down = found["bytes_up"][:-1], found["bytes_down"][:-1]
    if not any(up) and not any(down):
        return None
    top = max(*up, *down, 1.0) * 1.12
    return Chart(
        up=f"0,{HIGH:.0f} {_points(up, top)} {WIDE:.0f},{HIGH:.0f}",
        down=_points(down, top),
        top=top,
        sentence=(
            f"Last {HOURS} hours: served {_mean(up)} on average, {units.format_size(max(up))}/s at most; "
            f"received {_mean(down)} on average."
        ),
        marks=_marks(now),
    )


def _points(values: Sequence[float], top: float) -> str:
    step = WIDE / (len(values) - 1)
    return " ".join(f"{at * step:.1f},{HIGH - HIGH * value / top:.1f}" for at, value in enumerate(values))


def _mean(values: Sequence[float]) -> str:
    return f"{units.format_size(sum(values) / len(values))}/s"


def _marks(now: datetime) -> tuple[tuple[float, str], ...]:
    local = timezone.localtime(now)
    found = []
    for back in range(HOURS - 1, 0, -1):
        at = local.replace(minute=0, second=0, microsecond=0) - timedelta(hours=back)
        if at.hour % 6 == 0:
            share = 1 - (local - at).total_seconds() / (HOURS * 3600)
            found.append((round(share * 100, 1), f"{at:%H:%M}"))
    return tuple(found)
