"""Charts: measured values of a range of time, for the browser's drawing and for the server's.

What is loaded is kept for a minute, so that many who look cost one query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

from django.core.cache import cache
from django.db.models import Sum
from django.utils import timezone

from seederfarm.registry.growth import growths
from seederfarm.registry.models import Sample, Worker
from workers import units

from .room import forecast

KEPT: Final = 60
"""Seconds for which a chart is kept."""
LATE: Final = 90
"""Seconds after which workers have reported a minute: later ones are not drawn."""
DAY: Final = 86400


class Range(NamedTuple):
    """A time that a chart shows, until now."""

    word: str
    title: str
    seconds: int
    step: int
    """Seconds of a point."""


RANGES: Final[dict[str, Range]] = {
    "1h": Range("1 h", "Last hour", 3600, 60),
    "24h": Range("24 h", "Last 24 hours", DAY, 600),
    "7d": Range("7 d", "Last 7 days", 7 * DAY, 3600),
    "90d": Range("90 d", "Last 90 days", 90 * DAY, 21600),
}
"""Each step is a multiple of the spans of samples that are that old."""
DISK_RANGES: Final[dict[str, Range]] = {
    "30d": Range("30 d", "30 days", 30 * DAY, 21600),
    "90d": Range("90 d", "90 days", 90 * DAY, DAY),
    "1y": Range("1 y", "a year", 365 * DAY, DAY),
}
USUAL: Final = "24h"
USUAL_DISK: Final = "90d"

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: a value for each point."""

    word: str
    tone: str
    values: Values
    """None: not measured."""
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart, as numbers."""

    unit: str
    """`bytes/s`, `bytes` or `%`."""
    start: int
    """Of the first point, Unix time."""
    step: int
    series: tuple[Series, ...]
    sentence: str
    top: float | None = None
    """The upper edge. None: what the values need."""
    line: float | None = None
    line_word: str = ""
    now: int | None = None
    """Where a forecast begins, Unix time."""

    def as_json(self) -> dict[str, Any]:
        """Return what `charts.js` draws."""
        return asdict(self)

    @property
    def edge(self) -> float:
        """The value at the upper edge."""
        known = [value for one in self.series for value in one.values if value is not None]
        return self.top or max(known, default=1.0) * 1.12 or 1.0


def of_farm(name: str, now: datetime) -> dict[str, Plot]:
    """Return the bytes that all workers served and received. Empty: nothing was measured. One query a
    minute."""
    return _kept(f"charts:farm:{name}", lambda: _farm(RANGES[name], now))


def of_worker(worker: Worker, name: str, now: datetime) -> dict[str, Plot]:
    """Return rates, processor and memory of one worker. One query a minute."""
    return _kept(f"charts:{worker.pk}:{name}", lambda: _worker(worker, RANGES[name], now))


def disk_of(worker: Worker, name: str, now: datetime) -> dict[str, Plot]:
    """Return the bytes of a worker's content, and when it is full at its growth. Three queries a minute."""
    return _kept(f"charts:{worker.pk}:disk:{name}", lambda: _disk(worker, DISK_RANGES[name], now))


def _kept(key: str, load: Any) -> dict[str, Plot]:
    return cast("dict[str, Plot]", cache.get_or_set(key, load, KEPT))


def _farm(span: Range, now: datetime) -> dict[str, Plot]:
    start, found = _load(("bytes_up", "bytes_down"), span, now)
    return _rates(span, start, found)


def _worker(worker: Worker, span: Range, now: datetime) -> dict[str, Plot]:
    start, found = _load(("bytes_up", "bytes_down", "cpu", "memory_used"), span, now, worker.pk)
    plots = _rates(span, start, found)
    for name, metric, unit, top, word in (
        ("cpu", "cpu", "%", 100.0, "CPU"),
        ("memory", "memory_used", "bytes", worker.host.get("memory_bytes"), "Memory"),
    ):
        values = found[metric]
        known = [value for value in values if value is not None]
        if known:
            mean, peak = _amount(sum(known) / len(known), unit), _amount(max(known), unit)
            text = f"{word}, {span.title.lower()}: {mean} on average, {peak} at most."
            plots[name] = Plot(unit, start, span.step, (Series(word, "is-safe", values),), text, top)
    return plots


def _rates(span: Range, start: int, found: Mapping[str, Values]) -> dict[str, Plot]:
    up, down = found["bytes_up"], found["bytes_down"]
    served, got = ([value for value in values if value is not None] for values in (up, down))
    if not served and not got:
        return {}
    peak = max(served, default=0.0)
    at = start + span.step * up.index(peak) if served else start
    text = (
        f"{span.title}: served {_mean(served)} on average, {_amount(peak, 'bytes/s')} at most "
        f"{_when(at, span)}; received {_mean(got)} on average."
    )
    series = (Series("Served", "is-safe", up), Series("Received", "is-work", down, dashed=True))
    return {"rates": Plot("bytes/s", start, span.step, series, text)}


def _load(
    metrics: Sequence[str], span: Range, now: datetime, worker: int | None = None
) -> tuple[int, dict[str, list[float | None]]]:
    """The start of the first point, and a value for each point: an amount a second of `bytes_…`, a mean of
    others."""
    end = (int(now.timestamp()) - LATE) // span.step * span.step
    start = end - span.seconds
    rows = Sample.objects.filter(
        scope=Sample.Scope.WORKER,
        metric__in=metrics,
        at__gte=datetime.fromtimestamp(start, UTC),
        at__lt=datetime.fromtimestamp(end, UTC),
    )
    if worker is not None:
        rows = rows.filter(subject=worker)
    places = span.seconds // span.step
    sums = {metric: [[0.0, 0] for _ in range(places)] for metric in metrics}
    values = rows.order_by().values_list("metric", "at").annotate(n=Sum("total"), times=Sum("count"))
    for metric, at, total, times in values:
        place = sums[metric][(int(at.timestamp()) - start) // span.step]
        place[0] += total
        place[1] += times
    return start, {
        metric: [
            None if not times else total / (span.step if metric.startswith("bytes_") else times)
            for total, times in places_of
        ]
        for metric, places_of in sums.items()
    }


# --- room


def _disk(worker: Worker, span: Range, now: datetime) -> dict[str, Plot]:
    start, found = _load(("stored_bytes",), span, now, worker.pk)
    past = found["stored_bytes"]
    known = [value for value in past if value is not None]
    if not known:
        return {}
    growth = growths({worker.pk: worker.used_bytes}, now).get(worker.pk)
    full = forecast(worker, growth, now)
    used = float(worker.used_bytes or known[-1])
    room = used + worker.free_bytes if worker.free_bytes else None
    text = f"Copies took {_amount(known[0], 'bytes')}, and {_amount(used, 'bytes')} {span.title} later"
    series = [Series("Used", "is-safe", past)]
    if full is not None and room:
        series = _with_forecast(past, used, full.growth * span.step / DAY, room)
        text += f"; at {full.pace} they fill {_amount(room, 'bytes')} {full.when}"
    return {
        "disk": Plot(
            unit="bytes",
            start=start,
            step=span.step,
            series=tuple(series),
            sentence=f"{text}.",
            top=room * 1.08 if room else None,
            line=room,
            line_word=f"room {_amount(room, 'bytes')}" if room else "",
            now=start + span.seconds,
        )
    }


def _with_forecast(past: Values, used: float, each: float, room: float) -> list[Series]:
    """As far ahead as the chart goes back, or until the room is used up."""
    ahead: list[float] = []
    while len(ahead) < len(past) and used + each * len(ahead) < room:
        ahead.append(used + each * len(ahead))
    gap: list[float | None] = [None] * len(past)
    return [
        Series("Used", "is-safe", [*past, *([None] * len(ahead))]),
        Series("At this pace", "is-idle", [*gap, *ahead], dashed=True),
    ]


# --- words


def _amount(value: float, unit: str) -> str:
    if unit == "%":
        return f"{value:.0f} %"
    return units.format_size(value) + ("/s" if unit == "bytes/s" else "")


def _mean(values: Sequence[float]) -> str:
    return _amount(sum(values) / len(values) if values else 0.0, "bytes/s")


def _when(at: int, span: Range) -> str:
    local = timezone.localtime(datetime.fromtimestamp(at, UTC))
    return f"at {local:%H:%M}" if span.seconds <= DAY else f"on {local.day} {local:%B}"
