"""What the page of a drive says of its copies and of its last days."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.utils import timezone

from dashboard.reads.drive import one, strip
from seederfarm.registry.models import Drive, Worker
from seederfarm.registry.uptime import DAY, DAYS, Day

from .farm import a_copy, a_drive, a_worker


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("low", "high", "complete", "coming", "text"),
    [
        (1, 1, 1, 0, "1 wanted"),
        (1, 2, 1, 0, "2 where there is room"),
        (1, 3, 1, 1, "3 where there is room, 1 on the way"),
        (1, 2, 2, 0, "2 wanted"),
        (2, 2, 1, 0, "2 wanted, 1 missing"),
        (2, 3, 1, 1, "3 where there is room, 1 missing"),
    ],
)
def test_only_copies_that_the_farm_must_make_are_missing(
    low: int, high: int, complete: int, coming: int, text: str
) -> None:
    drive = a_drive("one", replicas_min=low, replicas_max=high)
    for number in range(complete):
        a_copy(drive, a_worker(f"w{number}"))
    for number in range(coming):
        new = a_worker(f"new{number}", state=Worker.State.ACTIVE)
        a_copy(drive, new, phase="downloading", have_blocks=1, completed_at=None, last_proven_at=None)
    assert one(drive, timezone.now()).reasons[1].text == text


@pytest.mark.usefixtures("database")
def test_a_drive_that_is_removed_needs_no_reasons_from_copies_that_go() -> None:
    drive = a_drive("one", state=Drive.State.REMOVING)
    a_copy(drive, a_worker("fra"), desired=False, released_at=timezone.now())
    assert one(drive, timezone.now()).reasons == []


def test_days_of_which_nothing_is_known_count_nowhere() -> None:
    today = date(2026, 8, 24)
    days = [Day(today - timedelta(days=back), 0, 0, 0) for back in range(DAYS - 1, 2, -1)]
    days += [Day(today - timedelta(days=2), 600, 1200, 0), *(Day(today, DAY, 0, 0) for _ in range(2))]
    found = strip(days)
    assert found is not None
    assert found.days_safe == "2 of 3 days safe"
    assert found.text == "90 days: 2 safe, 1 at risk, 0 unavailable, 87 not known"
    assert strip(days[:-3]) is None
