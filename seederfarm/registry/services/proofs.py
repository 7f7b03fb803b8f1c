"""Requests of people for proofs: of each drive once in five minutes, by page, API, command line and admin."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from workers import units

from .. import signals
from ..models import Drive, Replica
from ..sql import batches
from .drives import Drives, ids_of, record
from .keys import SIGNALLED
from .log import NAMED, Actor, count_of

AGAIN_AFTER: Final = timedelta(minutes=5)
"""A proof costs each worker reading and hashing: complete copies of a drive are asked by people this often at
most. Ours."""


class ProofRequest(NamedTuple):
    """The result of a request for proofs."""

    copies: int
    """Complete copies that were asked."""
    skipped: int = 0
    """Drives that were left out, since their copies were asked within AGAIN_AFTER."""
    named: tuple[str, ...] = ()
    """Names of the first NAMED of these."""
    wait: float = 0.0
    """Seconds until all of these may be asked. 0: none was left out."""

    @property
    def sentence(self) -> str:
        """The result as a sentence."""
        asked = f"Asked {count_of(self.copies, 'complete copy')} for proof."
        if not self.skipped:
            return asked if self.copies else "No copy is complete yet."
        more = self.skipped - len(self.named)
        names = ", ".join(self.named) + (f" and {more:,} more" if more else "")
        later = f"asked a moment ago; again in {units.format_duration(self.wait)}."
        return f"{asked} Left out {names}: {later}" if self.copies else f"{names}: {later}"


def wait_for(drive: Drive, now: datetime) -> float:
    """Seconds until copies of this drive may be asked again; 0: now."""
    return _left(drive.last_proof_asked_at, now)


def _left(asked_at: datetime | None, now: datetime) -> float:
    # A clock that was set back does not lock a drive for longer.
    if asked_at is None or asked_at > now:
        return 0.0
    return max(0.0, (asked_at + AGAIN_AFTER - now).total_seconds())


def reverify(drives: Drives, actor: Actor) -> ProofRequest:
    """Request a proof of every complete copy now, of drives that were not asked within AGAIN_AFTER.

    The outcome becomes an event of each drive, unless there are very many.
    """
    now = timezone.now()
    ids = ids_of(drives)
    done: list[int] = []
    late: list[tuple[int, float]] = []
    copies = 0
    with transaction.atomic():
        for batch in batches(ids):
            asked, left_out, number = _ask(batch, now)
            done += asked
            late += left_out
            copies += number
        if done:
            record(actor, "drive.reverify", f"Asked {count_of(copies, 'copy')} for proof of", done, {})
            changed = done if len(done) <= SIGNALLED else None
            if changed:  # the outcome of more would bury all other events
                Drive.objects.filter(pk__in=changed).update(proof_asked_at=now)
            transaction.on_commit(partial(signals.reverify_wanted.send, sender=Drive, drive_ids=changed))
    first = [pk for pk, _ in late[:NAMED]]
    named = tuple(str(drive) for drive in Drive.objects.filter(pk__in=first).order_by("pk"))
    return ProofRequest(copies, len(late), named, max((wait for _, wait in late), default=0.0))


def _ask(ids: list[int], now: datetime) -> tuple[list[int], list[tuple[int, float]], int]:
    """Drives that were asked, others with the seconds that they wait, and the number of copies.

    Copies are locked before drives, as by reports.
    """
    waits = {pk: 0.0 for pk in ids} | _waits(ids, now)
    free = [pk for pk, wait in waits.items() if not wait]
    complete = Replica.objects.filter(drive_id__in=free, desired=True, phase=Replica.Phase.COMPLETE)
    complete.update(last_challenged_at=None)
    numbers = dict(complete.order_by().values_list("drive_id").annotate(n=Count("pk")))
    due = Q(last_proof_asked_at=None) | Q(last_proof_asked_at__lte=now - AGAIN_AFTER)
    ahead = Q(last_proof_asked_at__gt=now)
    rows = Drive.objects.filter(due | ahead, pk__in=numbers).order_by("pk")
    mine = set(rows.select_for_update(no_key=True).values_list("pk", flat=True))
    Drive.objects.filter(pk__in=mine).update(last_proof_asked_at=now)
    waits |= {pk: AGAIN_AFTER.total_seconds() for pk in numbers.keys() - mine}  # another request was faster
    return (
        [pk for pk in ids if not waits[pk]],
        [(pk, waits[pk]) for pk in ids if waits[pk]],
        sum(number for pk, number in numbers.items() if pk in mine),
    )


def _waits(ids: list[int], now: datetime) -> dict[int, float]:
    rows = Drive.objects.filter(pk__in=ids, last_proof_asked_at__isnull=False)
    return {pk: _left(at, now) for pk, at in rows.values_list("pk", "last_proof_asked_at")}
