"""Acknowledging alerts."""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ..models import Alert
from .log import Actor, count_of, record_audit, user_of


def acknowledge(alerts: QuerySet[Alert], actor: Actor) -> int:
    """Mark open alerts as seen by this user. Returns how many were not yet."""
    with transaction.atomic():
        open_ones = alerts.filter(acknowledged_at=None, resolved_at=None)
        texts = list(open_ones.values_list("text", flat=True)[:1])
        changed = open_ones.update(acknowledged_at=timezone.now(), acknowledged_by=user_of(actor))
        if changed:
            text = texts[0] if changed == 1 else count_of(changed, "alert")
            record_audit(actor, "alert.acknowledge", f"Acknowledged: {text}")
    return changed
