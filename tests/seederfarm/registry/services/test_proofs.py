"""Requests for proofs: which copies are asked, and how often."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from seederfarm.registry import services
from seederfarm.registry.models import AuditEntry, Drive, Replica
from seederfarm.registry.services.log import NAMED
from seederfarm.registry.services.proofs import AGAIN_AFTER, ProofRequest, wait_for

from ..factories import make_drive, make_replica, make_worker

pytestmark = pytest.mark.django_db


def complete(name: str, copies: int = 1) -> Drive:
    drive = make_drive(name)
    for _ in range(copies):
        make_replica(drive, make_worker(), last_challenged_at=timezone.now())
    return drive


def asked() -> set[str]:
    """Names of the drives whose complete copies come first in the queue."""
    rows = Replica.objects.filter(last_challenged_at=None)
    return set(rows.values_list("drive__label", flat=True))


def test_complete_copies_come_first_in_the_queue() -> None:
    drive, _ = complete("a"), complete("other")
    loading = make_replica(
        drive, make_worker(), phase=Replica.Phase.DOWNLOADING, last_challenged_at=timezone.now()
    )
    assert services.reverify([drive], "cli") == ProofRequest(1)
    assert asked() == {"a"}
    loading.refresh_from_db()
    assert loading.last_challenged_at is not None


def test_a_drive_is_asked_once_in_five_minutes() -> None:
    first, second = complete("first", 2), complete("second")
    assert services.reverify([first], "cli").copies == 2
    Replica.objects.update(last_challenged_at=timezone.now())
    both = services.reverify(Drive.objects.filter(pk__in=[first.pk, second.pk]), "otto")
    assert (both.copies, both.skipped, both.named) == (1, 1, ("first",))
    assert 290 < both.wait <= 300
    assert asked() == {"second"}
    assert (
        both.sentence
        == "Asked 1 complete copy for proof. Left out first: asked a moment ago; again in 5 min."
    )
    again = services.reverify([second], "cli")
    assert (again.copies, again.sentence) == (0, "second: asked a moment ago; again in 5 min.")
    assert AuditEntry.objects.filter(action="drive.reverify").count() == 2
    Drive.objects.update(last_proof_asked_at=timezone.now() - AGAIN_AFTER)
    assert services.reverify([first, second], "cli") == ProofRequest(3)


def test_a_drive_without_a_complete_copy_may_be_asked_as_soon_as_it_has_one() -> None:
    drive = make_drive("bare")
    done = services.reverify([drive], "cli")
    assert (done, done.sentence) == (ProofRequest(0), "No copy is complete yet.")
    make_replica(drive, make_worker())
    assert services.reverify([drive], "cli").copies == 1


def test_a_clock_that_was_set_back_locks_no_drive() -> None:
    drive, now = complete("a"), timezone.now()
    Drive.objects.update(last_proof_asked_at=now + timedelta(days=1))
    drive.refresh_from_db()
    assert wait_for(drive, now) == 0
    assert services.reverify([drive], "cli").copies == 1


def test_of_many_that_are_left_out_some_are_named() -> None:
    for number in range(NAMED + 3):
        complete(f"d{number:02}")
    assert services.reverify(Drive.objects.all(), "cli").copies == NAMED + 3
    done = services.reverify(Drive.objects.all(), "cli")
    assert (done.skipped, len(done.named)) == (NAMED + 3, NAMED)
    assert "d19 and 3 more: asked a moment ago" in done.sentence
