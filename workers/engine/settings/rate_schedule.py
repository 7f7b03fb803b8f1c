"""Sizes and rates as people write them, and rates by the time of day."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

MIN_RATE = 1024
"""Bytes a second: less than that moves nothing that anybody waits for."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgtp])(i)?b?|b)?", re.IGNORECASE | re.ASCII)
_SPAN = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))?\s+)?(\d{1,2}):(\d\d)-(\d{1,2}):(\d\d)", re.IGNORECASE)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NO_LIMIT = ("none", "off", "unlimited")
_DAY = 24 * 60

RATE_EXAMPLES = "2M (bytes a second), 500k, 4Mi or none"
TIMETABLE_EXAMPLE = "mon-fri 08:00-18:00=1M, *=10M"


class SettingError(ValueError):
    """A setting is not what it must be. The text says which, and what was expected."""


def parse_size(text: str, *, source: str) -> int:
    """Bytes: `1000`, `64 MiB`, `2TB`; powers of 1000, with an i of 1024. Raises SettingError naming
    `source`."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise SettingError(f"{source}: {text!r} is not a size such as 500G, 64MiB or 1000000")
    power = " kmgtp".index((found[2] or " ").lower())
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)


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
        """The same times with other rates."""
        spans = tuple(span._replace(rate=change(span.rate)) for span in self.spans)
        return RateSchedule(spans, change(self.otherwise))

    def __str__(self) -> str:
        """As it is written."""
        rest = "none" if self.otherwise is None else str(self.otherwise)
        return ", ".join([*map(str, self.spans), f"*={rest}"]) if self.spans else rest


ANY_RATE = RateSchedule()
"""No limit at any time."""


def parse_timetable(text: str, *, source: str) -> RateSchedule:
    """`2M`, or spans with a rate each: see TIMETABLE_EXAMPLE. Raises SettingError naming `source`."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 and "=" not in text:
        return RateSchedule(otherwise=_rate(parts[0], source))
    spans: list[TimeWindow] = []
    otherwise: int | None = None
    rest = False
    for part in parts:
        when, sign, rate = (piece.strip() for piece in part.partition("="))
        if rest or not sign:
            reason = "comes after * and would never count" if rest else "has no rate"
            raise SettingError(f"{source}: {part!r} {reason}; expected such as {TIMETABLE_EXAMPLE}")
        if when == "*":
            otherwise, rest = _rate(rate, source), True
        else:
            spans.append(_span(when, _rate(rate, source), source))
    return RateSchedule(tuple(spans), otherwise)


def _rate(text: str, source: str) -> int | None:
    if text.lower() in NO_LIMIT:
        return None
    per_second = text.removesuffix("/s")
    if _SIZE.fullmatch(per_second.strip()) is None:
        raise SettingError(
            f"{source}: {text!r} is not a rate such as {RATE_EXAMPLES}, and no timetable such as "
            f"{TIMETABLE_EXAMPLE}"
        )
    rate = parse_size(per_second, source=source)
    if rate < MIN_RATE:
        raise SettingError(f"{source}: {text!r} is below {MIN_RATE} bytes a second; `none` is no limit")
    return rate


def _span(text: str, rate: int | None, source: str) -> TimeWindow:
    expected = "HH:MM-HH:MM, with days before it if need be, such as mon-fri 08:00-18:00"
    found = _SPAN.fullmatch(text)
    if found is None:
        raise SettingError(f"{source}: {text!r} is not {expected}")
    first, last = (found[1] or "mon").lower(), (found[2] or found[1] or "sun").lower()
    for day in (first, last):
        if day not in _DAYS:
            raise SettingError(f"{source}: {day!r} is not a day ({', '.join(_DAYS)})")
    start, end = int(found[3]) * 60 + int(found[4]), int(found[5]) * 60 + int(found[6])
    if int(found[4]) > 59 or int(found[6]) > 59 or start >= _DAY or end > _DAY:
        raise SettingError(f"{source}: {text!r} has a time that no day has; expected {expected}")
    from_day = _DAYS.index(first)
    count = (_DAYS.index(last) - from_day) % 7 + 1
    days = frozenset((from_day + offset) % 7 for offset in range(count))
    return TimeWindow(days, start, end % _DAY, rate)
