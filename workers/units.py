"""Amounts as people write and read them: the one grammar of sizes, rates, durations and counts.

Every option, setting, form and message goes through here. Units are decimal: `500G` is 500,000,000,000
bytes everywhere; a unit is binary only when it is written with an i (`64MiB`). What a parser refuses is a
ValueError with what was expected.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from hypercore.sizes import size_text as format_size

__all__ = [
    "MAX_COUNT",
    "MIN_RATE",
    "NO_LIMIT",
    "exact_duration",
    "exact_size",
    "format_address",
    "format_age",
    "format_clock",
    "format_count_of",
    "format_duration",
    "format_have_of",
    "format_limit",
    "format_percent",
    "format_rate",
    "format_size",
    "parse_count",
    "parse_duration",
    "parse_rate",
    "parse_size",
    "plural",
]

MAX_COUNT: Final = 2**63 - 1
"""The largest size or count: what a column of a database holds."""

MIN_RATE: Final = 1024
"""Bytes a second of the lowest rate: below it transfers are too slow to be useful, and no message between
control and workers carries less."""

NO_LIMIT: Final = ("none", "off", "unlimited")
"""Words for a rate or a count without a limit."""

SIZE_EXAMPLES: Final = "500G, 64MiB or 1000000"
RATE_EXAMPLES: Final = "2M (bytes a second), 500k, 4Mi or none"
DURATION_EXAMPLES: Final = "90s, 15m, 24h or 30d"

_NUMBER = r"(\d{1,19}(?:\.\d{1,9})?)"
_SIZE = re.compile(_NUMBER + r"\s*(?:([kmgtp])(i)?b?|b)?", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(_NUMBER + r"\s*(ms|s|m|h|d|w)?", re.IGNORECASE | re.ASCII)
_COUNT = re.compile(r"\d[\d_,]{0,30}", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_POWERS: Final = " kmgtp"

_EXACT_SIZES: Final = (
    *(("TiB", 2**40), ("TB", 10**12), ("GiB", 2**30), ("GB", 10**9), ("MiB", 2**20), ("MB", 10**6)),
    ("kB", 10**3),
)


# --- reading ---------------------------------------------------------------------------------------------


def parse_size(text: str) -> int:
    """Bytes: `1000`, `64 MiB`, `500G`, `2 TB`. Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a size such as {SIZE_EXAMPLES}")
    count = int(Decimal(found[1]) * (1024 if found[3] else 1000) ** _POWERS.index((found[2] or " ").lower()))
    if count > MAX_COUNT:
        raise ValueError("expected a size below 8 EiB, more than any disk has")
    return count


def parse_rate(text: str) -> int | None:
    """Bytes a second: a size, with `/s` or without it; `none` is None: no limit. Raises ValueError."""
    cleaned = text.strip().lower()
    if cleaned in NO_LIMIT:
        return None
    try:
        rate = parse_size(cleaned.removesuffix("/s"))
    except ValueError:
        raise ValueError(f"expected a rate such as {RATE_EXAMPLES}") from None
    if rate < MIN_RATE:
        raise ValueError(f"expected at least {MIN_RATE} bytes a second; `none` is no limit")
    return rate


def parse_duration(text: str) -> float:
    """Seconds: `90`, `90s`, `500ms`, `15m`, `24h`, `30d`, `2w`. Raises ValueError."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a duration such as {DURATION_EXAMPLES}")
    unit = (found[2] or "s").lower()
    return float(Decimal(found[1]) / 1000 if unit == "ms" else Decimal(found[1]) * _SECONDS[unit])


def parse_count(text: str, *, min_value: int = 0, max_value: int = MAX_COUNT) -> int:
    """A whole number, with `_` or `,` between its digits or without. Raises ValueError."""
    cleaned = text.strip()
    digits = cleaned.replace("_", "").replace(",", "") if _COUNT.fullmatch(cleaned) else ""
    if not digits or not min_value <= int(digits) <= max_value:
        range_text = (
            f", {min_value} or more" if max_value >= MAX_COUNT else f" from {min_value} to {max_value}"
        )
        raise ValueError(f"expected a whole number{range_text}")
    return int(digits)


# --- writing: rounded, for people ------------------------------------------------------------------------


def format_rate(per_second: float) -> str:
    """Bytes a second: `1.2 MB/s`; a dash for none."""
    return f"{format_size(per_second)}/s" if per_second >= 0.5 else "–"


def format_have_of(have: int, total: int) -> str:
    """`3.1 of 12.3 MB`, or just the total when all of it is here."""
    return format_size(total) if have >= total else _of(have, total)


def format_count_of(have: int, total: int) -> str:
    """`3,105 of 5,000`, or just the total when all of it is here."""
    return f"{total:,}" if have >= total else f"{have:,} of {total:,}"


def format_limit(name: str, value: float, limit: int) -> str:
    """`↑ 1.0 of 2.0 MB/s`, `9.9 of 10.0 GB stored`, `12 of 64 connections`."""
    if name in ("up", "down"):
        return f"{'↑' if name == 'up' else '↓'} {_of(min(value, limit), limit)}/s"
    if name == "disk":
        return f"{_of(value, limit)} stored"
    return f"{round(value):,} of {limit:,} {'connections' if name == 'peers' else name}"


def _of(value: float, total: float) -> str:
    """Two sizes, with the unit once where both have the same."""
    left, right = format_size(value), format_size(total)
    if left.rpartition(" ")[2] == right.rpartition(" ")[2]:
        left = left.rpartition(" ")[0]
    return f"{left} of {right}"


def format_percent(fraction: float) -> str:
    """Whole percents, rounded down: 100% means all of it."""
    return f"{int(fraction * 100)}%"


def format_address(host: str, port: int) -> str:
    """`203.0.113.7:49737`, or `UDP port 49737` where no address of ours is known yet."""
    return f"UDP port {port}" if host in ("0.0.0.0", "::") else f"{host}:{port}"


def format_clock(seconds: float) -> str:
    """A time that runs: `0:42`, `12:05`, `3:12:05`, `2 d 3:12`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour}:{minute:02}"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def format_duration(seconds: float) -> str:
    """About how long: `12 s`, `5 min`, `3 h`, `2 days`."""
    for unit, length, from_ in (("day", 86400, 86400 * 1.5), ("h", 3600, 5400), ("min", 60, 45)):
        if seconds >= from_:
            number = round(seconds / length)
            return f"{number} {unit}{'s' if unit == 'day' and number != 1 else ''}"
    return f"{round(seconds)} s"


def format_age(seconds: float) -> str:
    """Format how long ago something was: `just now`, `5 min ago`, `3 days ago`; `in 5 min` for what is to
    come."""
    if seconds < -5:
        return f"in {format_duration(-seconds)}"
    return "just now" if seconds < 45 else f"{format_duration(seconds)} ago"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """`1 peer`, `2 peers`, `1,200 peers`; `nouns` where the plural is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


# --- writing: exact, to be read again --------------------------------------------------------------------


def exact_size(count: int) -> str:
    """Format bytes as `parse_size` reads them, in the largest unit that it is a multiple of: `500 GB`, `64
    MiB`, `7`."""
    for unit, size in _EXACT_SIZES:
        if count and count % size == 0:
            return f"{count // size} {unit}"
    return str(count)


def exact_duration(seconds: float) -> str:
    """Format seconds as `parse_duration` reads them: `15s`, `5m`, `1d`, `0.5s`."""
    if seconds and seconds == int(seconds):
        for unit in ("d", "h", "m"):
            if int(seconds) % _SECONDS[unit] == 0:
                return f"{int(seconds) // _SECONDS[unit]}{unit}"
    return f"{seconds:g}s"
