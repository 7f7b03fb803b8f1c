"""Opening and resolving alerts, many at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import F

from seederfarm.registry.models import Alert
from seederfarm.registry.models.history import Severity
from seederfarm.registry.services.alert_rules import switched_off
from seederfarm.registry.sql import batches


class AlertSpec(NamedTuple):
    """An alert to open. An open one with the same subject is updated instead."""

    kind: str
    subject: str
    text: str
    hint: str = ""
    severity: Severity = Severity.WARNING
    drive_id: int | None = None
    worker_id: int | None = None
    what: str = ""
    kept: str = ""
    does: str = ""


def raise_alerts(specs: Sequence[AlertSpec], now: datetime) -> list[AlertSpec]:
    """Open an alert for each, or update the open one. Returns the new ones.

    Nothing is opened for rules that are switched off.
    """
    new: list[AlertSpec] = []
    off = switched_off(spec.kind for spec in specs) if specs else set()
    specs = [spec for spec in specs if spec.kind not in off]
    for batch in batches({spec.subject: spec for spec in specs}.values(), 500):
        open_ones = Alert.objects.filter(subject__in=[t.subject for t in batch], resolved_at__isnull=True)
        texts = dict(open_ones.values_list("subject", "text"))
        open_ones.update(count=F("count") + 1, last_seen_at=now, clear_since=None)
        for spec in batch:
            if spec.subject in texts and texts[spec.subject] != spec.text[:500]:
                rows = Alert.objects.filter(subject=spec.subject, resolved_at__isnull=True)
                rows.update(text=spec.text[:500])
        fresh = [spec for spec in batch if spec.subject not in texts]
        Alert.objects.bulk_create(
            [
                Alert(
                    kind=t.kind,
                    subject=t.subject,
                    text=t.text[:500],
                    hint=t.hint[:500],
                    what=t.what[:500],
                    kept=t.kept[:500],
                    does=t.does[:500],
                    severity=t.severity,
                    drive_id=t.drive_id,
                    worker_id=t.worker_id,
                    opened_at=now,
                    last_seen_at=now,
                )
                for t in fresh
            ],
            ignore_conflicts=True,
        )
        new += fresh
    return new


def resolve(subjects: Iterable[str], now: datetime) -> int:
    """Resolve the open alerts of these subjects. Returns how many."""
    done = 0
    for batch in batches(subjects, 500):
        done += Alert.objects.filter(subject__in=batch, resolved_at__isnull=True).update(resolved_at=now)
    return done


def resolve_others(kind: str, lasting: set[int], checked: Sequence[int] | None, now: datetime) -> int:
    """Resolve open alerts of this kind about drives that are not in `lasting`.

    Only about drives in `checked`; None: about all.
    """
    open_ones = Alert.objects.filter(kind=kind, resolved_at__isnull=True)
    drives = None if checked is None else set(checked)
    over = [
        pk
        for pk, drive_id in open_ones.values_list("pk", "drive_id")
        if drive_id not in lasting and (drives is None or drive_id in drives)
    ]
    done = 0
    for batch in batches(over, 500):
        done += Alert.objects.filter(pk__in=batch).update(resolved_at=now)
    return done
