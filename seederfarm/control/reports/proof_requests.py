"""The outcome of proofs that a person asked for ("Prove now"), as an event of the drive."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q
from django.utils import timezone

from seederfarm.registry.models import Challenge, Drive, Event, Replica
from seederfarm.registry.models.history import Severity
from workers import units

from .audits import TIME_TO_ANSWER

AT_ONCE: Final = 500
"""Drives that one run concludes; the next run continues. Ours."""
WAIT: Final = 3 * TIME_TO_ANSWER
"""Longest time to wait for a drive's file list and contents; workers that are away are not asked at all."""


def conclude(now: datetime | None = None) -> int:
    """Record what came of requests that all copies have answered, or that are too old. Returns how many."""
    now = now or timezone.now()
    with transaction.atomic():
        unanswered = Replica.objects.filter(drive=OuterRef("pk"), desired=True, phase=Replica.Phase.COMPLETE)
        open_ones = Challenge.objects.filter(replica__drive=OuterRef("pk"), outcome=Challenge.Outcome.OPEN)
        asked = Drive.objects.filter(proof_asked_at__isnull=False).filter(
            Q(proof_asked_at__lte=now - WAIT)
            | ~Exists(unanswered.filter(last_challenged_at__isnull=True, length__gt=0)) & ~Exists(open_ones)
        )
        drives = list(asked.order_by("pk").select_for_update(no_key=True, skip_locked=True)[:AT_ONCE])
        found = _counts(drives)
        Event.objects.bulk_create([_event(drive, *found.get(drive.pk, (0, 0)), now) for drive in drives])
        Drive.objects.filter(pk__in=[drive.pk for drive in drives]).update(proof_asked_at=None)
    return len(drives)


def _counts(drives: list[Drive]) -> dict[int, tuple[int, int]]:
    """Of each drive: copies that could be asked, and copies that have given the proof since."""
    good = Q(last_proven_at__gte=F("drive__proof_asked_at"), proof_failures=0)
    rows = Replica.objects.filter(drive__in=drives, desired=True, phase=Replica.Phase.COMPLETE, length__gt=0)
    return {
        drive: (asked, proven)
        for drive, asked, proven in rows.order_by()
        .values_list("drive_id")
        .annotate(n=Count("pk"), proven=Count("pk", filter=good))
    }


def _event(drive: Drive, asked: int, proven: int, now: datetime) -> Event:
    copies = units.plural(asked, "copy", "copies")
    text = f"Asked for proof: {proven:,} of {copies} of {drive} gave it"
    if not asked:
        text = f"Asked for proof: {drive} has no complete copy"
    return Event(
        at=now,
        kind="drive.proof",
        severity=Severity.INFO if asked and proven == asked else Severity.WARNING,
        drive=drive,
        text=text[:500],
        data={"key": drive.key, "copies": asked, "proven": proven},
    )
