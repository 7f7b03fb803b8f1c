"""May the publisher go offline? The words, for each state of the copies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from seederfarm.registry.models import Alert, Drive, Replica, Worker
from seederfarm.registry.models.history import FORK_ALERT
from seederfarm.registry.verdict import Verdict, verdict_of

from .factories import make_drive, make_replica, make_worker

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 8, 24, 14, 32, tzinfo=UTC)


def minutes(number: float) -> datetime:
    return NOW - timedelta(minutes=number)


def a_drive(**values: Any) -> Drive:
    given = {"length": 482, "fork": 0, "replicas_min": 2, "replicas_max": 3, "observed_at": minutes(120)}
    return make_drive(**{**given, **values})


def a_copy(drive: Drive, name: str, proven: float | None = 4, **values: Any) -> Replica:
    worker = Worker.objects.filter(name=name).first() or make_worker(name)
    given = {
        "length": 482, "have_blocks": 482, "total_blocks": 482, "have_bytes": 1000, "total_bytes": 1000,
        "completed_at": minutes(300), "last_proven_at": None if proven is None else minutes(proven),
        "created_at": minutes(500),
    }  # fmt: skip
    return make_replica(drive, worker, **{**given, **values})


def words(drive: Drive) -> tuple[str, str]:
    verdict = verdict_of(drive, NOW)
    return verdict.sentence(NOW), verdict.reason


def test_safe_says_how_many_and_how_old_the_oldest_proof_is() -> None:
    drive = a_drive()
    for name, proven in (("fra", 4), ("hel", 61), ("nyc", 12)):
        a_copy(drive, name, proven)
    verdict = verdict_of(drive, NOW)
    assert verdict.is_safe
    assert verdict.sentence(NOW) == "Safe to go offline: 3 complete copies, proven 61 min ago"
    assert verdict.reason == "The farm has everything up to version 482, first seen 2 h ago."


def test_versions_have_thousands_separators() -> None:
    drive = a_drive(length=189_209)
    size = {"length": 189_209, "have_blocks": 189_209, "total_blocks": 189_209}
    a_copy(drive, "fra", **size)
    a_copy(drive, "hel", **size)
    assert "everything up to version 189,209, first seen" in words(drive)[1]


def test_one_copy_of_two_is_not_enough() -> None:
    drive = a_drive()
    a_copy(drive, "fra")
    a_copy(
        drive,
        "hel",
        None,
        phase="downloading",
        completed_at=None,
        have_blocks=241,
        have_bytes=619,
        grew_at=minutes(1),
    )
    assert words(drive) == (
        "Better stay online: 1 copy of at least 2, proven 4 min ago",
        "61% of another copy is here.",
    )
    drive.replicas.filter(worker__name="hel").update(grew_at=minutes(9))
    assert words(drive)[1] == "61% of another copy is here. Nothing arrives at the moment."


def test_before_the_first_copy_is_proven_the_publisher_is_asked_to_stay() -> None:
    drive = a_drive()
    copy = a_copy(
        drive, "fra", None, phase="downloading", completed_at=None, have_bytes=999, grew_at=minutes(1)
    )
    assert words(drive) == (
        "Not yet: please stay online",
        "99% of version 482 is here. The first proven copy is the one that counts.",
    )
    Replica.objects.filter(pk=copy.pk).update(phase="complete", completed_at=minutes(1))
    assert words(drive) == (
        "Not yet: please stay online",
        "The copy on fra is complete, and its proof is pending. "
        "The first proven copy is the one that counts.",
    )


def test_the_verdict_of_a_drive_that_was_never_seen_is_unknown() -> None:
    drive = a_drive(length=None, fork=None)
    a_copy(drive, "fra", None, phase="looking", completed_at=None, have_blocks=0)
    assert words(drive)[0] == "Not yet: nothing has arrived"


def test_without_a_complete_copy_online_it_names_the_fullest() -> None:
    drive = a_drive()
    a_copy(drive, "pi-studio")
    Worker.objects.filter(name="pi-studio").update(lost_since=minutes(20), last_seen_at=minutes(26))
    assert words(drive) == (
        "No: no complete copy is online",
        "All of it is on pi-studio, last heard 26 min ago. If you have it, please come online.",
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"proof_failures": 2}, "The copy on hel is not counted: it could not prove itself twice."),
        ({"length": 481}, "The copy on hel has version 481 of 482."),
        (
            {"last_proven_at": minutes(60 * 24 * 9), "completed_at": minutes(60 * 24 * 10)},
            "The copy on hel was last proven 9 days ago: too long ago.",
        ),
    ],
)
def test_it_says_why_a_complete_copy_does_not_count(change: dict[str, Any], reason: str) -> None:
    drive = a_drive()
    a_copy(drive, "fra")
    a_copy(drive, "hel", **change)
    assert words(drive)[1].startswith(reason)


def test_a_paused_drive_with_enough_copies_lets_its_publisher_go() -> None:
    drive = a_drive(state=Drive.State.PAUSED, replicas_min=1)
    a_copy(drive, "fra")
    verdict = verdict_of(drive, NOW)
    assert verdict.is_safe and "paused" in verdict.reason


@pytest.mark.parametrize("state", ["removing", "rewritten"])
def test_a_drive_that_leaves_or_was_rewritten_is_not_safe(state: str) -> None:
    drive = a_drive(replicas_min=1, state="removing" if state == "removing" else "active")
    a_copy(drive, "fra")
    if state == "rewritten":
        Alert.objects.create(kind=FORK_ALERT, subject=f"{FORK_ALERT}:{drive.pk}", drive=drive)
    verdict: Verdict = verdict_of(drive, NOW)
    assert not verdict.is_safe
    assert verdict.claim.startswith("No: ")
    assert verdict.health == state
