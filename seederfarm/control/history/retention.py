"""Deletes old rows, in small batches."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db.models import Model, QuerySet
from django.utils import timezone

from seederfarm.registry import uptime
from seederfarm.registry.models import (
    Alert,
    AlertDelivery,
    AlertSilence,
    AuditEntry,
    Challenge,
    Event,
    StateChange,
)

from ..db.locks import try_lock
from . import samples

BITE: Final = 5000
"""Rows deleted at once, so that locks are short."""
KEEP_CHALLENGES: Final = timedelta(days=30)
KEEP_ALERTS: Final = timedelta(days=90)
"""Time for which resolved alerts are kept."""


class PruneResult(NamedTuple):
    """Numbers of deleted rows."""

    events: int
    challenges: int
    alerts: int
    samples: int
    audit: int = 0
    days: int = 0


def prune(now: datetime | None = None) -> PruneResult:
    """Delete old rows. One run at a time: two that merge the same samples would count them twice."""
    with try_lock("retention") as alone:
        return _prune(now or timezone.now()) if alone else PruneResult(0, 0, 0, 0)


def _prune(now: datetime) -> PruneResult:
    before = now - timedelta(seconds=settings.FARM.keep_events)
    events = Event.objects.filter(at__lt=before)
    challenges = Challenge.objects.filter(deadline__lt=now - KEEP_CHALLENGES).exclude(outcome="")
    _delete(AlertDelivery.objects.filter(alert=None, finished_at__lt=now - KEEP_ALERTS))
    _delete(AlertSilence.objects.filter(ends_at__lt=now - KEEP_ALERTS))
    old_alerts = Alert.objects.filter(resolved_at__lt=now - KEEP_ALERTS)
    # Entries of people are kept; those of sources have the age of events, since lists can cause any number.
    done_by_sources = AuditEntry.objects.filter(user=None, actor__startswith="source ", at__lt=before)
    _delete(StateChange.objects.filter(at__lt=before))
    _delete_beyond(StateChange, settings.FARM.keep_event_rows)
    return PruneResult(
        _delete(events) + _delete_beyond(Event, settings.FARM.keep_event_rows),
        _delete(challenges),
        _delete(old_alerts),
        samples.roll_up(now),
        _delete(done_by_sources),
        uptime.prune(now),
    )


def _delete_beyond(model: type[Model], count: int) -> int:
    """Delete rows beyond the newest `count`."""
    rows = model._default_manager.order_by("-pk").values_list("pk", flat=True)
    return sum(_delete(model._default_manager.filter(pk__lte=pk)) for pk in rows[count : count + 1])


def _delete(rows: QuerySet[Any]) -> int:
    done = 0
    while ids := list(rows.order_by("pk").values_list("pk", flat=True)[:BITE]):
        done += rows.model._default_manager.filter(pk__in=ids).delete()[0]
    return done
