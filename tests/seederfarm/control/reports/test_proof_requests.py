"""What comes of "Prove now": one event of the drive."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from seederfarm.control.reports.proof_requests import WAIT, conclude
from seederfarm.registry.models import Challenge, Drive, Event, Replica
from seederfarm.registry.services import reverify

from ...registry.factories import make_drive, make_replica, make_worker
from ..fakes import FakeBroker

SECOND = timedelta(seconds=1)


@pytest.fixture
def drive(farm: FakeBroker, now: datetime) -> Drive:
    drive = make_drive("Films", length=7, fork=0)
    for _ in range(2):
        make_replica(drive, make_worker(), length=7, have_blocks=7, last_proven_at=now - 9 * SECOND)
    make_replica(drive, make_worker(), phase="downloading", length=7)  # is not asked
    reverify([drive], "cli")
    Drive.objects.update(proof_asked_at=now)
    return drive


def events() -> list[tuple[str, str]]:
    return list(Event.objects.filter(kind="drive.proof").values_list("severity", "text"))


def test_it_is_reported_once_when_all_copies_have_answered(drive: Drive, now: datetime) -> None:
    assert conclude(now + SECOND) == 0  # nobody was asked yet
    Replica.objects.update(last_challenged_at=now + SECOND)
    first, second = Replica.objects.filter(phase="complete")
    row = Challenge.objects.create(replica=first, core=drive.key, blocks=[1], deadline=now + 60 * SECOND)
    Replica.objects.filter(pk=second.pk).update(last_proven_at=now + 2 * SECOND)
    assert conclude(now + 2 * SECOND) == 0  # one is open
    Challenge.objects.filter(pk=row.pk).update(outcome="proven")
    Replica.objects.filter(pk=first.pk).update(last_proven_at=now + 3 * SECOND)
    assert conclude(now + 3 * SECOND) == 1
    assert events() == [("info", "Asked for proof: 2 of 2 copies of Films gave it")]
    assert conclude(now + 4 * SECOND) == 0


def test_copies_that_fail_or_are_away_are_missing_in_it(drive: Drive, now: datetime) -> None:
    away, failed = Replica.objects.filter(phase="complete")
    Replica.objects.filter(pk=failed.pk).update(last_challenged_at=now + SECOND, proof_failures=1)
    assert Replica.objects.get(pk=away.pk).last_challenged_at is None
    assert conclude(now + WAIT - SECOND) == 0
    assert conclude(now + WAIT) == 1
    assert events() == [("warning", "Asked for proof: 0 of 2 copies of Films gave it")]


def test_a_drive_without_a_complete_copy_says_so(farm: FakeBroker, now: datetime) -> None:
    reverify([make_drive("Bare", length=7)], "cli")
    assert conclude() == 1
    assert events() == [("warning", "Asked for proof: Bare has no complete copy")]
