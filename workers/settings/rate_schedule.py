"""Rates by the time of day, as people write them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from ..units import parse_rate

_SPAN = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))?\s+)?(\d{1,2}):(\d\d)-(\d{1,2}):(\d\d)", re.IGNORECASE)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60

TIMETABLE_EXAMPLE = "mon-fri 08:00-18:00=1M, *=10M"


class TimeWindow(NamedTuple):
    """A rate for a part of some days."""

    days: frozenset[int]
    """Monday is 0. A span over midnight belongs to the day it begins on."""
    start: int
    """Minutes since midnight."""
    end: int
    """Not part of it. Not after `start`: it ends on the next day."""
    rate: int | None

    def covers(self, day: int, minute: int) -> bool:
        """Return whether a minute of a day (0: Monday) is inside. A window that ends before it starts reaches
        into the next day."""
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        if minute >= self.start:
            return day in self.days
        return minute < self.end and (day - 1) % 7 in self.days

    def __str__(self) -> str:
        first = min(day for day in self.days if (day - 1) % 7 not in self.days or len(self.days) == 7)
        days = "" if len(self.days) == 7 else _DAYS[first]
        if 1 < len(self.days) < 7:
            days += f"-{_DAYS[(first + len(self.days) - 1) % 7]}"
        start, end = (f"{at // 60:02}:{at % 60:02}" for at in (self.start, self.end))
        return f"{days} {start}-{end}={'none' if self.rate is None else self.rate}".strip()


class RateSchedule(NamedTuple):
    """Bytes a second by the time of day. Of several spans, the first that covers the time counts."""

    spans: tuple[TimeWindow, ...] = ()
    otherwise: int | None = None
    """None: no limit."""

    @property
    def limits(self) -> bool:
        """Whether there is a limit at any time."""
        return self.otherwise is not None or any(span.rate is not None for span in self.spans)

    def rate_at(self, local: datetime) -> int | None:
        """The rate at a time of this machine's time zone. Nothing is remembered: a clock that is set, and the
        hour that comes twice or not at all when daylight saving changes, are as good as any other time."""
        day, minute = local.weekday(), local.hour * 60 + local.minute
        for span in self.spans:
            if span.covers(day, minute):
                return span.rate
        return self.otherwise

    def map(self, change: Callable[[int | None], int | None]) -> RateSchedule:
        """Return a schedule of the same times with other rates."""
        spans = tuple(span._replace(rate=change(span.rate)) for span in self.spans)
        return RateSchedule(spans, change(self.otherwise))

    def __str__(self) -> str:
        """As it is written."""
        rest = "none" if self.otherwise is None else str(self.otherwise)
        return ", ".join([*map(str, self.spans), f"*={rest}"]) if self.spans else rest


ANY_RATE = RateSchedule()
"""No limit at any time."""


def parse_rate_schedule(text: str) -> RateSchedule:
    """A rate such as `2M`, or spans with a rate each: see TIMETABLE_EXAMPLE. Raises ValueError."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 and "=" not in text:
        return RateSchedule(otherwise=_rate(parts[0]))
    spans: list[TimeWindow] = []
    otherwise: int | None = None
    rest = False
    for part in parts:
        when, sign, rate = (piece.strip() for piece in part.partition("="))
        if rest or not sign:
            reason = "comes after * and would never count" if rest else "has no rate"
            raise ValueError(f"{part!r} {reason}; expected such as {TIMETABLE_EXAMPLE}")
        if when == "*":
            otherwise, rest = _rate(rate), True
        else:
            spans.append(_span(when, _rate(rate)))
    return RateSchedule(tuple(spans), otherwise)


def _rate(text: str) -> int | None:
    try:
        return parse_rate(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is not a rate: {error}; or a timetable such as {TIMETABLE_EXAMPLE}"
        ) from None


def _span(text: str, rate: int | None) -> TimeWindow:
    expected = "HH:MM-HH:MM, with days before it if need be, such as mon-fri 08:00-18:00"
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not {expected}")
    first, last = (found[1] or "mon").lower(), (found[2] or found[1] or "sun").lower()
    for day in (first, last):
        if day not in _DAYS:
            raise ValueError(f"{day!r} is not a day ({', '.join(_DAYS)})")
    start, end = int(found[3]) * 60 + int(found[4]), int(found[5]) * 60 + int(found[6])
    if int(found[4]) > 59 or int(found[6]) > 59 or start >= _DAY or end > _DAY:
        raise ValueError(f"{text!r} has a time that no day has; expected {expected}")
    from_day = _DAYS.index(first)
    count = (_DAYS.index(last) - from_day) % 7 + 1
    days = frozenset((from_day + offset) % 7 for offset in range(count))
    return TimeWindow(days, start, end % _DAY, rate)
