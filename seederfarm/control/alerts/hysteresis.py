"""Decides when alerts open and close: a condition must hold, and be over, for long enough. Pure, without a
clock."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(slots=True)
class Step:
    """The subjects whose alerts one run of a rule changes."""

    opened: list[str] = field(default_factory=list)
    lasting: list[str] = field(default_factory=list)
    """Open before, and the condition holds."""
    watched: dict[str, datetime] = field(default_factory=dict)
    """Newly watched, since when."""
    unwatched: list[str] = field(default_factory=list)
    clearing: list[str] = field(default_factory=list)
    """Open, and the condition is over as of now."""
    closed: list[str] = field(default_factory=list)


def step(
    holding: Collection[str],
    watched: Mapping[str, datetime],
    open_ones: Mapping[str, datetime | None],
    now: datetime,
    *,
    opens_after: float,
    closes_after: float,
) -> Step:
    """One run of a rule.

    `watched` are conditions that hold and have no alert yet, and since when; `open_ones` the open alerts, and
    since when their condition is over (None: it held at the last run).
    """
    result, opens, closes = Step(), timedelta(seconds=opens_after), timedelta(seconds=closes_after)
    for subject in holding:
        if subject in open_ones:
            result.lasting.append(subject)
        elif now - watched.get(subject, now) >= opens:
            result.opened.append(subject)
        elif subject not in watched:
            result.watched[subject] = now
    held = set(holding)
    for subject, over_since in open_ones.items():
        if subject in held:
            continue
        if now - (over_since or now) >= closes:
            result.closed.append(subject)
        elif over_since is None:
            result.clearing.append(subject)
    opened = set(result.opened)
    result.unwatched = [subject for subject in watched if subject not in held or subject in opened]
    return result
