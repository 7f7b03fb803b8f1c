"""Makes copies complete each other: asks a copy that stopped looking for blocks to look again if another copy
has them.

Workers find each other under the drive's topic. A copy that is as full as can be stops looking, since its
peers had no more; control sees all copies.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from farmwire.gaps import Holding, covers
from farmwire.tasks import MAX_SEARCH_AGAIN, REFRESH, Refresh
from seederfarm.registry.models import Drive, Replica
from seederfarm.registry.models.replica import MAX_PROOF_FAILURES
from seederfarm.registry.services.copies import HOLDING, holding_of
from seederfarm.registry.sql import batches

from ..messaging import outbox
from ..messaging.assignments import TALKING, heartbeats

AGAIN_AFTER: Final = timedelta(hours=1)
"""Time before the same copy is asked again."""
AT_ONCE: Final = 2000
"""Copies compared in one run, those asked longest ago first."""
HEARD_WITHIN: Final = 12.0
"""Heartbeats within which both workers must have reported."""


def ask_to_search_again(now: datetime | None = None) -> int:
    """Ask workers of such copies to look again. Returns the number of copies."""
    now = now or timezone.now()
    heard = Q(worker__state__in=TALKING, worker__last_seen_at__gt=now - heartbeats(HEARD_WITHIN))
    there = Replica.objects.filter(
        heard, desired=True, have_blocks__gt=0, proof_failures__lt=MAX_PROOF_FAILURES
    )
    others = there.filter(drive=OuterRef("drive")).exclude(pk=OuterRef("pk")).exclude(gaps=OuterRef("gaps"))
    idle = there.filter(
        Q(search_again_sent_at__isnull=True) | Q(search_again_sent_at__lt=now - AGAIN_AFTER),
        Exists(others),
        unavailable_blocks__gt=0,
        phase=Replica.Phase.COMPLETE,
        drive__state=Drive.State.ACTIVE,
    ).order_by(F("search_again_sent_at").asc(nulls_first=True), "pk")
    fields = ("drive_id", "pk", *HOLDING)
    wanting = list(idle.values_list("worker_id", "worker__node_id", "drive__key", *fields)[:AT_ONCE])
    have: dict[int, list[tuple[int, Holding]]] = {}
    for batch in batches({row[3] for row in wanting}, 1000):
        for drive_id, pk, *numbers in there.filter(drive_id__in=batch).values_list(*fields):
            have.setdefault(drive_id, []).append((pk, holding_of(*numbers)))
    orders: dict[tuple[int, str], list[str]] = {}
    asked: list[int] = []
    for worker_id, node_id, key, drive_id, pk, *numbers in wanting:
        here = holding_of(*numbers)
        if any(_has_more(other, here) for number, other in have[drive_id] if number != pk):
            orders.setdefault((worker_id, node_id), []).append(key)
            asked.append(pk)
    for (worker_id, node_id), keys in orders.items():
        messages = [Refresh(search_again=some) for some in batches(keys, MAX_SEARCH_AGAIN)]
        outbox.send(worker_id, node_id, REFRESH, messages, now)
    for batch in batches(asked, 1000):
        Replica.objects.filter(pk__in=batch).update(search_again_sent_at=now)
    return len(asked)


def _has_more(other: Holding, here: Holding) -> bool:
    """Whether `other` is known to have blocks that are missing in `here`."""
    return other.known and other.fork == here.fork and not covers(here, other)
