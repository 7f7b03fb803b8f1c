"""Silences: no messages about some alerts until a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from ..alert_rules import RULES
from ..models import Alert, AlertSilence, Drive, Tag, Worker
from .log import Actor, record_audit, user_of

MAX_SILENCES: Final = 200
"""Silences at one time. Ours."""
LONGEST: Final = timedelta(days=366)
"""Of a silence. Ours."""


def silence(
    actor: Actor,
    *,
    ends_at: datetime,
    rule: str = "",
    worker: Worker | None = None,
    drive: Drive | None = None,
    tag: str = "",
    reason: str = "",
) -> AlertSilence:
    """Silence alerts that fit all that is given. Raises ValidationError."""
    now = timezone.now()
    if not (rule or worker or drive or tag):
        raise ValidationError("Say what to silence: a rule, a worker, a drive or a tag.")
    if rule and rule not in RULES:
        raise ValidationError({"rule": "No such rule."})
    if not now < ends_at <= now + LONGEST:
        raise ValidationError({"ends_at": "A silence ends in the future, within a year."})
    word = None
    if tag:
        word = Tag.objects.filter(name=tag.lower()).first()
        if word is None:
            if not any(tag.lower() in (tags or ()) for tags in Worker.objects.values_list("tags", flat=True)):
                raise ValidationError({"tag": "No drive and no worker has this tag."})
            word = Tag.objects.create(name=tag.lower())
    with transaction.atomic():
        if current(now).count() >= MAX_SILENCES:
            raise ValidationError(f"There are {MAX_SILENCES} silences already: end some first.")
        made = AlertSilence.objects.create(
            rule=rule,
            worker=worker,
            drive=drive,
            tag=word,
            reason=reason.strip()[:200],
            actor=_name(actor),
            user=user_of(actor),
            ends_at=ends_at,
        )
        text = f"Silenced {made} until {ends_at:%Y-%m-%d %H:%M} UTC"
        record_audit(actor, "alert.silence", text, target=str(made.pk), data={"reason": made.reason})
        apply_silences(now)
    return made


def end_silence(pk: int, actor: Actor) -> bool:
    """End a silence now. Returns False if it is over, or does not exist."""
    now = timezone.now()
    with transaction.atomic():
        found = current(now).filter(pk=pk).first()
        if found is None:
            return False
        found.ends_at = now
        found.save(update_fields=["ends_at"])
        record_audit(actor, "alert.silence_end", f"Ended the silence of {found}", target=str(pk))
        apply_silences(now)
    return True


def current(now: datetime) -> QuerySet[AlertSilence]:
    """Silences that last, with what they are about."""
    return AlertSilence.objects.filter(ends_at__gt=now).select_related("worker", "drive", "tag")


def apply_silences(now: datetime) -> None:
    """Set `silenced_until` of every open alert to the end of the longest silence that fits."""
    open_ones = Alert.objects.filter(resolved_at__isnull=True)
    fitting: dict[int, datetime] = {}
    # By their ends: the last one that fits an alert is the longest
    for item in current(now)[:MAX_SILENCES]:
        for pk in open_ones.filter(_fits(item)).values_list("pk", flat=True):
            fitting[pk] = item.ends_at
    open_ones.filter(silenced_until__isnull=False).exclude(pk__in=list(fitting)).update(silenced_until=None)
    by_end: dict[datetime, list[int]] = {}
    for pk, ends_at in fitting.items():
        by_end.setdefault(ends_at, []).append(pk)
    for ends_at, ids in by_end.items():
        differs = Q(silenced_until__isnull=True) | ~Q(silenced_until=ends_at)
        open_ones.filter(differs, pk__in=ids).update(silenced_until=ends_at)


def _fits(item: AlertSilence) -> Q:
    found = Q(resolved_at__isnull=True)
    if item.rule:
        found &= Q(kind=item.rule)
    if item.worker_id is not None:
        found &= Q(worker_id=item.worker_id)
    if item.drive_id is not None:
        found &= Q(drive_id=item.drive_id)
    if item.tag is not None:
        tags = Worker.objects.values_list("pk", "tags")
        workers = [pk for pk, words in tags if item.tag.name in (words or ())]
        found &= Q(worker_id__in=workers) | Q(drive_id__in=item.tag.drives.values("pk"))
    return found


def _name(actor: Actor) -> str:
    return (actor if isinstance(actor, str) else actor.get_username() or "somebody")[:150]
