"""Sends the deliveries that are due.

A row is claimed by one conditional update, and once more just before its message is transmitted: two
processes never send the same row, also if the first was stopped for longer than its claim. A process that
ends after the second step leaves a message that may have arrived: it is not sent again (`unsure`), and a
reminder follows if the alert stays open. What remains: a message whose transmission failed so that it may
have arrived (a time-out) is tried again with the same id, by which receivers can drop repetitions.
"""

from __future__ import annotations

import logging
import time
import uuid
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from seederfarm.registry.models import Alert, AlertChannel, AlertDelivery
from seederfarm.registry.services.alert_rules import lines

from . import planning, transports
from .messages import MAX_LISTED, AlertText, MessageText
from .transports import NotSent

log = logging.getLogger(__name__)
State = AlertDelivery.State

CLAIM: Final = timedelta(minutes=3)
"""Time in which a claimed message is sent: longer than any transport takes."""
FIRST_RETRY: Final = timedelta(seconds=30)
LAST_RETRY: Final = timedelta(hours=1)
"""Each pause is twice the one before, up to this."""
MAX_TRIES: Final = 12
"""Tries of one message, over about five hours. Ours."""
BUDGET: Final = 60.0
"""Seconds after which a run begins no further message; the next one continues."""


class LostClaim(Exception):
    """Another process has taken the message."""


def deliver(now: datetime | None = None) -> int:
    """Send what is due. Returns how many messages were taken by their channels.

    A channel that fails is left alone until the next run, so that it does not delay the others.
    """
    at = now or timezone.now()
    recover(at)
    until, failing, sent = time.monotonic() + BUDGET, set[int](), 0
    while time.monotonic() < until:
        delivery = _claim(at, failing)
        if delivery is None:
            break
        if _send(delivery, at):
            sent += 1
        else:
            failing.add(delivery.channel_id)
    return sent


def recover(now: datetime) -> None:
    """Rows of processes that ended: those not yet handed over wait again, the others may have arrived."""
    ended = AlertDelivery.objects.filter(state=State.SENDING, claimed_until__lt=now)
    ended.filter(handed_over_at__isnull=True).update(state=State.WAITING, claim=None, claimed_until=None)
    ended.filter(handed_over_at__isnull=False).update(
        state=State.UNSURE,
        claim=None,
        finished_at=now,
        last_error="the process that sent it ended before the answer",
    )


def _claim(now: datetime, failing: set[int]) -> AlertDelivery | None:
    """Take the message that has waited longest."""
    due = AlertDelivery.objects.filter(state=State.WAITING, next_at__lte=now, channel__enabled=True)
    due = due.exclude(channel__in=failing).order_by("next_at", "pk")
    for pk in list(due.values_list("pk", flat=True)[:20]):
        claim = uuid.uuid4()
        rows = AlertDelivery.objects.filter(pk=pk, state=State.WAITING)
        if rows.update(
            state=State.SENDING,
            claim=claim,
            claimed_until=now + CLAIM,
            handed_over_at=None,
            tries=F("tries") + 1,
        ):
            found = AlertDelivery.objects.filter(pk=pk, claim=claim)
            return found.select_related("channel", "alert__drive", "alert__worker").first()
    return None


def _send(delivery: AlertDelivery, now: datetime) -> bool:
    mine = AlertDelivery.objects.filter(pk=delivery.pk, state=State.SENDING, claim=delivery.claim)

    def begin() -> None:
        if not mine.update(handed_over_at=timezone.now()):
            raise LostClaim

    message = message_of(delivery)
    if not message.alerts and delivery.kind != AlertDelivery.Kind.TEST:
        mine.update(state=State.DROPPED, finished_at=now, claim=None, claimed_until=None)
        return True
    try:
        transports.send(delivery.channel, message, now, begin)
    except LostClaim:
        log.warning("%s was taken by another process", delivery)
        return True
    except NotSent as error:
        _failed(delivery, str(error), now)
        return False
    except Exception as error:
        log.exception("%s failed", delivery)
        _failed(delivery, type(error).__name__, now)
        return False
    mine.update(state=State.SENT, finished_at=now, claim=None, claimed_until=None, last_error="")
    AlertChannel.objects.filter(pk=delivery.channel_id).update(last_ok_at=now, last_error="")
    return True


def _failed(delivery: AlertDelivery, why: str, now: datetime) -> None:
    rows = AlertDelivery.objects.filter(pk=delivery.pk, claim=delivery.claim)
    over = delivery.tries >= MAX_TRIES or delivery.kind == AlertDelivery.Kind.TEST
    rows.update(
        state=State.FAILED if over else State.WAITING,
        claim=None,
        claimed_until=None,
        handed_over_at=None,
        next_at=now + pause(delivery.tries),
        finished_at=now if over else None,
        last_error=why[:300],
    )
    AlertChannel.objects.filter(pk=delivery.channel_id).update(last_failed_at=now, last_error=why[:300])
    log.warning("%s was not sent: %s", delivery, why)


def pause(tries: int) -> timedelta:
    """Return the seconds before the next try."""
    return min(LAST_RETRY, FIRST_RETRY * (1 << max(0, min(tries - 1, 20))))


def message_of(delivery: AlertDelivery) -> MessageText:
    """The message of a delivery, with MAX_LISTED of its alerts at most."""
    alerts, left_out = planning.alerts_of(delivery, MAX_LISTED)
    return MessageText(
        uid=str(delivery.uid),
        kind=delivery.kind,
        farm=settings.FARM.name,
        url=f"{settings.FARM.pages_url}/alerts/",
        alerts=[text_of(alert) for alert in alerts],
        left_out=left_out,
    )


def text_of(alert: Alert) -> AlertText:
    """The parts of an alert that messages show."""
    return AlertText(
        id=alert.pk,
        kind=alert.kind,
        severity=alert.severity,
        text=alert.text,
        lines=lines(alert),
        opened_at=alert.opened_at,
        resolved_at=alert.resolved_at,
        drive=alert.drive.z32 if alert.drive is not None else None,
        worker=alert.worker.node_id if alert.worker is not None else None,
    )
