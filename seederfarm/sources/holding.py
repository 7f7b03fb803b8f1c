"""Decides which removals of a reading are held for a person. Pure.

Two faults shorten a list unintentionally: a damaged entry, and a list that was cut where it cannot be
noticed. So keys missing from a list with malformed entries are not removed, and neither is more than a share
of a source's keys within a day.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.conf import settings

from seederfarm.registry.models import Source

WINDOW: Final = timedelta(days=1)
"""The time over which removals are added up, so that a list that shrinks in small steps is held too."""


HOUR: Final = 3600
"""Seconds that are added up together."""


class Change(NamedTuple):
    """The removals that a reading asks for."""

    known: int
    """Keys that the source had before, without those that only the last-copy guard keeps."""
    absent: AbstractSet[str]
    """Keys that the list no longer has."""
    removed: AbstractSet[str]
    """Keys that its removals endpoint lists."""
    refused: int
    """Malformed entries of the list."""
    established: AbstractSet[str] = frozenset()
    """Keys that the source has had for WINDOW. Their removals are added up separately: a list that grows a
    hundredfold must not make its old keys a small share."""


class _Hour(NamedTuple):
    """What one hour saw, in the order in which `Source.state` keeps it."""

    number: int
    """Hours since 1970."""
    base: int
    """Keys that the source had at most."""
    removed: int = 0
    established: int = 0
    established_removed: int = 0
    """Removed keys that were established."""


def limit_of(source: Source) -> int:
    """Percent of its keys that may be removed within a day."""
    return int(source.shrink or settings.FARM.source_shrink)


def decide(source: Source, change: Change, at: datetime) -> tuple[AbstractSet[str], str]:
    """The keys whose removal is held, and the reason (both empty: none)."""
    held: AbstractSet[str] = frozenset()
    why = []
    goes = change.absent | change.removed
    if change.refused and change.absent:
        held, goes = change.absent, change.removed
        entries = "entry is" if change.refused == 1 else "entries are"
        why.append(f"{change.refused:,} {entries} malformed, and may be what is missing")
    limit, window = limit_of(source), _window(source, change, at)
    count = window.removed + len(goes)
    if goes and limit < 100 and count * 100 > limit * window.base:
        held = held | goes
        why.append(f"the list lost {count:,} of {window.base:,} keys within a day, more than {limit} %")
    old = goes & change.established
    count = window.established_removed + len(old)
    if old and not goes <= held and limit < 100 and count * 100 > limit * window.established:
        held = held | goes
        why.append(
            f"the list lost {count:,} of {window.established:,} keys within a day that it had for longer, "
            f"more than {limit} %"
        )
    return held, "; ".join(why)


def window_of(source: Source, change: Change, removed: AbstractSet[str], at: datetime) -> dict[str, Any]:
    """The sums over the day, when the keys `removed` are gone, too, for `Source.state`."""
    now = _number(at)
    hours = _hours(source, at)
    last = next((hour for hour in hours if hour.number == now), _Hour(now, 0))
    last = _Hour(
        now,
        max(last.base, change.known),
        last.removed + len(removed),
        max(last.established, len(change.established)),
        last.established_removed + len(removed & change.established),
    )
    return {"hours": [list(hour) for hour in hours if hour.number != now] + [list(last)]}


def _window(source: Source, change: Change, at: datetime) -> _Hour:
    """The last WINDOW, up to an hour longer, taken together: whatever day is looked at, it is within one."""
    hours = _hours(source, at)
    return _Hour(
        _number(at),
        max([change.known, *(hour.base for hour in hours)]),
        sum(hour.removed for hour in hours),
        max([len(change.established), *(hour.established for hour in hours)]),
        sum(hour.established_removed for hour in hours),
    )


def _hours(source: Source, at: datetime) -> list[_Hour]:
    """Those of which a part is within WINDOW."""
    kept = ((source.state or {}).get("window") or {}).get("hours", [])
    first = _number(at - WINDOW)
    return [hour for hour in (_Hour(*map(int, values)) for values in kept) if hour.number >= first]


def _number(at: datetime) -> int:
    return int(at.timestamp() // HOUR)
