"""Charts drawn by the server, for browsers without script: SVG without style."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .charts import Plot, Range

WIDE, HIGH = 960.0, 160.0
"""Units of the drawing."""
AREA: Final = "area"
LINE: Final = "line"


@dataclass(frozen=True, slots=True)
class Shape:
    """A part of a drawing."""

    kind: str
    """`area` or `line`."""
    tone: str
    points: str


def shapes(plot: Plot) -> list[Shape]:
    """An area for the first series, lines for the others; a gap where nothing was measured."""
    drawn = []
    for number, one in enumerate(plot.series):
        for first, values in _runs(one.values):
            places = [
                _place(first + at, value, len(one.values), plot.edge) for at, value in enumerate(values)
            ]
            if number == 0:
                left, right = places[0].split(",")[0], places[-1].split(",")[0]
                places = [f"{left},{HIGH:.0f}", *places, f"{right},{HIGH:.0f}"]
            drawn.append(Shape(LINE if number else AREA, one.tone, " ".join(places)))
    return drawn


def _runs(values: Sequence[float | None]) -> Iterator[tuple[int, list[float]]]:
    """The places and values between gaps; what stands alone is not drawn."""
    first, run = 0, list[float]()
    for at, value in enumerate([*values, None]):
        if value is not None:
            run.append(value)
            continue
        if len(run) > 1:
            yield first, run
        first, run = at + 1, []


def _place(at: int, value: float, count: int, edge: float) -> str:
    return f"{at * WIDE / max(1, count - 1):.1f},{HIGH - HIGH * min(1.0, value / edge):.1f}"


@dataclass(frozen=True, slots=True)
class Charts:
    """Charts of a page that show the same time."""

    chosen: str
    ranges: list[tuple[str, str]]
    """What can be chosen: name, word."""
    plots: Mapping[str, Plot | None]
    """None: nothing was measured."""
    drawn: Mapping[str, list[Shape]]


def charts(
    names: Sequence[str], plots: Mapping[str, Plot], chosen: str, ranges: Mapping[str, Range]
) -> Charts:
    """Draw these charts: those without values are None."""
    words = [(name, span.word) for name, span in ranges.items()]
    found = {name: plots.get(name) for name in names}
    return Charts(chosen, words, found, {name: shapes(plot) if plot else [] for name, plot in found.items()})
