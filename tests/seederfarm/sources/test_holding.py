"""How much a list may lose within a day, whenever that day begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from seederfarm.registry.models import Source
from seederfarm.sources.holding import WINDOW, Change, decide, window_of

START = datetime(2026, 5, 17, 0, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def keys(first: int, end: int) -> frozenset[str]:
    return frozenset(map(str, range(first, end)))


def read(source: Source, at: datetime, known: int, absent: frozenset[str]) -> bool:
    """Whether what is absent is held. What is not is removed."""
    change = Change(known=known, absent=absent, removed=frozenset(), refused=0)
    held, _ = decide(source, change, at)
    source.state = {"window": window_of(source, change, absent - held, at)}
    return bool(held)


@pytest.mark.parametrize("step", [1, 3, 5, 24])
def test_two_halves_at_the_seam_of_two_days_are_one_loss(step: int) -> None:
    """Windows that follow each other let a list lose twice as much within an hour."""
    source = Source(shrink=50)
    for hour in range(0, 24, step):
        assert not read(source, START + hour * HOUR, 100, frozenset())
    last = START + 23 * HOUR + timedelta(minutes=55)
    assert not read(source, last, 100, keys(0, 50))
    assert read(source, last + timedelta(minutes=10), 50, keys(50, 51)), (
        "25 of the 50 that are left were taken"
    )
    assert read(source, last + 23 * HOUR, 50, keys(50, 51))
    assert not read(source, last + WINDOW + HOUR, 50, keys(50, 75))
    assert read(source, last + WINDOW + 2 * HOUR, 25, keys(75, 76))


def test_small_steps_add_up_over_any_day() -> None:
    source, removed, lost = Source(shrink=50), 0, []
    for hour in range(24 * 4):
        if not read(source, START + hour * HOUR, 1000 - removed, keys(removed, removed + 30)):
            removed += 30
            lost.append(hour)
        if removed > 900:
            break
    for first in range(24 * 3):
        gone = 30 * sum(first <= hour < first + 24 for hour in lost)
        before = 1000 - 30 * sum(hour < first for hour in lost)
        assert gone <= before / 2 + 30, f"hours {first} to {first + 24}"


def test_what_is_kept_is_bounded() -> None:
    source = Source(shrink=50)
    for minute in range(0, 60 * 24 * 5, 7):
        read(source, START + timedelta(minutes=minute), 100, frozenset())
    assert len(source.state["window"]["hours"]) <= 25
