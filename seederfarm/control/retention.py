"""Forgetting what is old, in small bites."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from seederfarm.registry.models import Alert, Challenge, Event

from . import samples
from .locks import only_one

BITE: Final = 5000
"""Rows deleted at once: nobody waits long for them."""
KEEP_CHALLENGES: Final = timedelta(days=30)
KEEP_ALERTS: Final = timedelta(days=90)
"""After they were resolved."""


class Forgotten(NamedTuple):
    events: int
    challenges: int
    alerts: int
    samples: int


def forget(now: datetime | None = None) -> Forgotten:
    """One at a time: two that merged the same samples would count them twice."""
    with only_one("retention") as alone:
        return _forget(now or timezone.now()) if alone else Forgotten(0, 0, 0, 0)


def _forget(now: datetime) -> Forgotten:
    events = Event.objects.filter(at__lt=now - timedelta(seconds=settings.FARM.keep_events))
    challenges = Challenge.objects.filter(deadline__lt=now - KEEP_CHALLENGES).exclude(outcome="")
    old_alerts = Alert.objects.filter(resolved_at__lt=now - KEEP_ALERTS)
    return Forgotten(_delete(events), _delete(challenges), _delete(old_alerts), samples.roll_up(now))


def _delete(rows: QuerySet[Any]) -> int:
    done = 0
    while ids := list(rows.order_by("pk").values_list("pk", flat=True)[:BITE]):
        done += rows.model._default_manager.filter(pk__in=ids).delete()[0]
    return done
