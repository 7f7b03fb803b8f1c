"""Plans messages: rows of deliveries for alerts that opened, last, or are over.

Compares alerts with rows, so that a missed run is made up for, and a repeated one adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Exists, Max, OuterRef, Q, QuerySet

from seederfarm.registry.alert_rules import Setting
from seederfarm.registry.models import Alert, AlertChannel, AlertDelivery
from seederfarm.registry.models.history import Severity
from seederfarm.registry.services.alert_rules import rule_settings

Kind, State = AlertDelivery.Kind, AlertDelivery.State

STORM: Final = 10
"""Messages about single alerts that a channel gets within STORM_WINDOW; further alerts go into a digest."""
STORM_WINDOW: Final = timedelta(minutes=10)
DIGEST_AFTER: Final = timedelta(minutes=5)
"""How long a digest fills before it is sent."""
UNSURE_AFTER: Final = timedelta(minutes=10)
"""A message that may not have arrived is followed by a reminder after this time."""
MAX_PLANNED: Final = 1000
"""Deliveries that one run makes for one channel; the next run continues. Ours."""
CLOSED_FOR: Final = timedelta(hours=6)
"""Alerts that are over for longer are not reported any more."""
ORDER: Final = [Severity.INFO, Severity.WARNING, Severity.ERROR]


def plan(now: datetime) -> int:
    """Make the deliveries that are wanted. Returns how many. Call it from one process at a time."""
    rules = rule_settings()
    return sum(_plan(channel, rules, now) for channel in AlertChannel.objects.filter(enabled=True))


def _plan(channel: AlertChannel, rules: dict[str, Setting], now: datetime) -> int:
    with transaction.atomic():
        made = [*_opened(channel, rules, now), *_reminders(channel, now), *_closed(channel, now)]
        if not made:
            return 0
        since = now - STORM_WINDOW
        lately = AlertDelivery.objects.filter(channel=channel, created_at__gt=since, alert__isnull=False)
        room = max(0, STORM - lately.exclude(state=State.DIGESTED).count())
        digest = AlertDelivery.objects.filter(
            channel=channel, kind=Kind.DIGEST, state=State.WAITING, tries=0
        ).first()
        if digest is not None:
            room = 0  # it takes what comes until it is sent
        beyond = made[room:]
        if beyond and digest is None and len(beyond) > 1:
            digest = AlertDelivery.objects.create(
                channel=channel, kind=Kind.DIGEST, created_at=now, next_at=now + DIGEST_AFTER
            )
        for row in beyond if digest is not None else ():
            row.state, row.digest, row.finished_at = State.DIGESTED, digest, now
        AlertDelivery.objects.bulk_create(made, ignore_conflicts=True, batch_size=500)
        return len(made)


def wanted_by(channel: AlertChannel, rules: dict[str, Setting]) -> Q:
    """Alerts that this channel gets: by severity and by rule."""
    severe = ORDER[ORDER.index(Severity(channel.min_severity)) :]
    elsewhere = [
        kind
        for kind, setting in rules.items()
        if not setting.enabled or not (setting.all_channels or channel.pk in setting.channels)
    ]
    return Q(severity__in=[value.value for value in severe]) & ~Q(kind__in=elsewhere)


def _untaken(now: datetime) -> QuerySet[Alert]:
    """Open alerts that are not acknowledged and not silenced."""
    loud = Q(silenced_until__isnull=True) | Q(silenced_until__lte=now)
    return Alert.objects.filter(loud, resolved_at__isnull=True, acknowledged_at__isnull=True)


def _of(channel: AlertChannel, *kinds: str) -> QuerySet[AlertDelivery]:
    return AlertDelivery.objects.filter(channel=channel, alert=OuterRef("pk"), kind__in=kinds)


def _opened(channel: AlertChannel, rules: dict[str, Setting], now: datetime) -> list[AlertDelivery]:
    rows = (
        _untaken(now)
        .filter(
            wanted_by(channel, rules),
            ~Exists(_of(channel, Kind.OPENED)),
            opened_at__gte=channel.active_since,
        )
        .order_by("pk")
    )
    return [_row(channel, pk, Kind.OPENED, now) for pk in rows.values_list("pk", flat=True)[:MAX_PLANNED]]


def _reminders(channel: AlertChannel, now: datetime) -> list[AlertDelivery]:
    """Of alerts whose last message is old, or may not have arrived."""
    due = Q(state=State.UNSURE, finished_at__lte=now - UNSURE_AFTER)
    if channel.remind_every:
        since = now - timedelta(seconds=channel.remind_every)
        due |= Q(state__in=[State.SENT, State.DIGESTED, State.FAILED, State.UNSURE], finished_at__lte=since)
    messages = AlertDelivery.objects.filter(channel=channel, kind__in=[Kind.OPENED, Kind.REMINDER])
    last = messages.filter(alert__in=_untaken(now)).order_by().values("alert").annotate(newest=Max("pk"))
    rows = messages.filter(due, pk__in=last.values("newest")).order_by("pk")
    return [
        _row(channel, alert_id, Kind.REMINDER, now, number + 1)
        for alert_id, number in rows.values_list("alert_id", "number")[:MAX_PLANNED]
    ]


def _closed(channel: AlertChannel, now: datetime) -> list[AlertDelivery]:
    """Of alerts that are over, where their opening was sent; one that was not sent yet is dropped."""
    over = Alert.objects.filter(resolved_at__isnull=False, resolved_at__gt=now - CLOSED_FOR)
    useless = AlertDelivery.objects.filter(
        channel=channel,
        state=State.WAITING,
        kind__in=[Kind.OPENED, Kind.REMINDER],
        alert__resolved_at__isnull=False,
    )
    useless.update(state=State.DROPPED, finished_at=now)
    if not channel.sends_closed:
        return []
    messages = _of(channel, Kind.OPENED).filter(state__in=[State.SENT, State.UNSURE, State.DIGESTED])
    rows = over.filter(Exists(messages), ~Exists(_of(channel, Kind.CLOSED))).order_by("pk")
    return [_row(channel, pk, Kind.CLOSED, now) for pk in rows.values_list("pk", flat=True)[:MAX_PLANNED]]


def _row(channel: AlertChannel, alert: Any, kind: str, now: datetime, number: int = 0) -> AlertDelivery:
    return AlertDelivery(
        channel=channel, alert_id=alert, kind=kind, number=number, created_at=now, next_at=now
    )


def alerts_of(delivery: AlertDelivery, bound: int) -> tuple[list[Alert], int]:
    """The alerts that a message names, and how many it leaves out."""
    if delivery.alert is not None:
        return [delivery.alert], 0
    ids: Iterable[Any] = (
        AlertDelivery.objects.filter(digest=delivery).order_by().values_list("alert_id", flat=True).distinct()
    )
    rows = Alert.objects.filter(pk__in=list(ids)).select_related("drive", "worker")
    found = list(rows.order_by("resolved_at", "pk")[:bound])
    return found, rows.count() - len(found)
