"""The growth of workers' content, from samples of the last days, and when their room is used up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Avg, F

from .models import Sample

GROWTH_FROM: Final = ((timedelta(days=7), timedelta(days=6)), (timedelta(days=3), timedelta(days=2.5)))
"""Spans in the past whose mean is compared with now; the second for workers that are younger."""
GROWTH_SPAN: Final = 900
"""Seconds of the samples that are that old (`control.history.samples`)."""


def growths(used: Mapping[int, int | None], now: datetime) -> dict[int, float]:
    """Bytes a day by which the content of workers grew over the last days, by primary key. `used`: bytes of
    content now. Workers that are younger than three days are left out. At most two queries."""
    found: dict[int, float] = {}
    for since, until in GROWTH_FROM:
        missing = [pk for pk, bytes_used in used.items() if pk not in found and bytes_used is not None]
        if not missing:
            break
        means = (
            Sample.objects.filter(
                scope=Sample.Scope.WORKER,
                subject__in=missing,
                metric="stored_bytes",
                span=GROWTH_SPAN,
                at__gte=now - since,
                at__lt=now - until,
            )
            .order_by()
            .values_list("subject")
            .annotate(mean=Avg(F("total") / F("count")))
        )
        days = (since + until).total_seconds() / 2 / 86400
        for pk, mean in means:
            found[pk] = ((used[pk] or 0) - mean) / days
    return found


def days_left(free_bytes: int | None, growth: float | None) -> float | None:
    """Days until this room is used up at `growth` bytes a day. None: it does not grow, or that is unknown."""
    if free_bytes is None or growth is None or growth <= 0:
        return None
    return free_bytes / growth
