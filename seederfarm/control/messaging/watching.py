"""Sends workers the keys of watched drives."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from farmwire.tasks import WATCH
from farmwire.traffic import MAX_WATCH_SECONDS, MAX_WATCHED, Watch
from seederfarm.registry.models import CopyPeers, Drive, Replica

from . import outbox
from .assignments import TALKING

KEPT: Final = timedelta(minutes=5)
"""Time after which a list of peers is deleted. Ours."""


def send_watch(now: datetime | None = None) -> int:
    """Send each worker the watched drives that it has copies of, and delete old lists. Returns the number of
    workers."""
    now = now or timezone.now()
    CopyPeers.objects.filter(at__lt=now - KEPT).delete()
    watched = Drive.objects.filter(watched_until__gt=now).order_by("watched_until", "pk")
    until = dict(watched.values_list("pk", "watched_until")[:MAX_WATCHED])
    rows = Replica.objects.filter(
        drive__in=until, desired=True, worker__state__in=TALKING, worker__lost_since=None
    )
    keys: dict[tuple[int, str], dict[str, datetime]] = {}
    columns = ("worker_id", "worker__node_id", "drive__key", "drive_id")
    for worker, node, key, drive in rows.values_list(*columns):
        keys.setdefault((worker, node), {})[key] = until[drive] or now
    for (worker, node), ends in keys.items():
        seconds = min(MAX_WATCH_SECONDS, max((end - now).total_seconds() for end in ends.values()))
        outbox.send(worker, node, WATCH, [Watch(keys=sorted(ends), seconds=seconds)], now)
    return len(keys)
