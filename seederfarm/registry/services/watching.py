"""Watched drives: pages show them, and workers report their peers, a minute at a time."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db import transaction
from django.db.models import Q

from farmwire.traffic import MAX_WATCHED

from .. import signals
from ..models import Drive

WATCH_TIME: Final = timedelta(seconds=60)
"""How long a drive is watched: a page that stays open renews it. Ours."""
RENEW_BELOW: Final = timedelta(seconds=30)
"""It is renewed when this much is left. Ours."""


def watch(keys: Collection[str], now: datetime) -> None:
    """A page shows these drives. Those above MAX_WATCHED of the farm are left out. One query while
    nothing is due."""
    soon = Q(watched_until__isnull=True) | Q(watched_until__lt=now + RENEW_BELOW)
    due = list(Drive.objects.filter(soon, key__in=keys).values_list("pk", flat=True)[:MAX_WATCHED])
    if not due:
        return
    others = Drive.objects.filter(watched_until__gt=now).exclude(pk__in=due).count()
    due = due[: max(0, MAX_WATCHED - others)]
    if due and Drive.objects.filter(pk__in=due).update(watched_until=now + WATCH_TIME):
        transaction.on_commit(partial(signals.peers_wanted.send, sender=None), robust=True)


def is_watched(drive: Drive, now: datetime) -> bool:
    """Whether its peers are reported."""
    return drive.watched_until is not None and drive.watched_until > now
