"""Which removals of a reading are held for a person. Pure.

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
    settled: AbstractSet[str] = frozenset()
    """Keys that the source has had for WINDOW. Their removals are added up separately: a list that grows a
    hundredfold must not make its old keys a small share."""


class _Window(NamedTuple):
    began: datetime
    base: int
    """The largest number of keys that the source had in the window."""
    removed: int
    settled: int = 0
    settled_removed: int = 0
    """Removed keys that were settled."""


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
    old = goes & change.settled
    count = window.settled_removed + len(old)
    if old and not goes <= held and limit < 100 and count * 100 > limit * window.settled:
        held = held | goes
        why.append(
            f"the list lost {count:,} of {window.settled:,} keys within a day that it had for longer, more "
            f"than {limit} %"
        )
    return held, "; ".join(why)


def window_of(source: Source, change: Change, removed: AbstractSet[str], at: datetime) -> dict[str, Any]:
    """The sums over the day including `removed`, for `Source.state`."""
    window = _window(source, change, at)
    return {
        "began": window.began.isoformat(),
        "base": window.base,
        "removed": window.removed + len(removed),
        "settled": window.settled,
        "settled_removed": window.settled_removed + len(removed & change.settled),
    }


def _window(source: Source, change: Change, at: datetime) -> _Window:
    kept = (source.state or {}).get("window")
    if isinstance(kept, dict):
        began = datetime.fromisoformat(kept["began"])
        if began <= at < began + WINDOW:
            return _Window(
                began,
                max(int(kept["base"]), change.known),
                int(kept["removed"]),
                max(int(kept.get("settled", 0)), len(change.settled)),
                int(kept.get("settled_removed", 0)),
            )
    return _Window(at, change.known, 0, len(change.settled))
