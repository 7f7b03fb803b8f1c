"""Rows of a farm with something of everything, and what a person reads on a page."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from html import unescape
from typing import Any

from django.utils import timezone

from seederfarm.registry import services
from seederfarm.registry.models import Alert, Drive, Replica, Sample, Source, SourceEntry, Tag, Worker

from ..seederfarm.registry.factories import health_stored_at_the_end, make_drive, make_replica, make_worker

HOST = {
    "cpu_percent": 12.0, "load": 0.4, "cores": 4, "memory_bytes": 8 * 10**9, "memory_used_bytes": 10**9,
    "disk_bytes": 10**12, "disk_free_bytes": 5 * 10**11, "uptime": 90_000.0,
}  # fmt: skip
ENGINE = {
    "running": True, "shards": 1, "restarts": 0, "hung": 0, "connections": 7, "firewalled": False,
    "rss_bytes": 10**8, "stored_bytes": 10**9, "up_per_second": 2e6, "down_per_second": 1e3,
}  # fmt: skip


def a_worker(name: str, **values: Any) -> Worker:
    given = {
        "host": HOST,
        "engine": ENGINE,
        "used_bytes": 10**9,
        "free_bytes": 10**12,
        "zone": f"zone of {name}",
    }
    return make_worker(name, **{**given, **values})


def a_copy(drive: Drive, worker: Worker, **values: Any) -> Replica:
    given = {"length": 10, "have_blocks": 10, "total_blocks": 10, "have_bytes": 1000, "total_bytes": 1000}
    before = timezone.now() - timedelta(minutes=20)
    return make_replica(drive, worker, **{**given, "completed_at": before, "created_at": before, **values})


def a_drive(name: str, **values: Any) -> Drive:
    given = {"length": 10, "fork": 0, "byte_length": 1000, "observed_at": timezone.now()}
    return make_drive(name, **{**given, **values})


def populate() -> None:
    """Drives that are safe, at risk, copying, waiting, unavailable; workers that are lost and pending."""
    with health_stored_at_the_end():
        _populate(timezone.now())


def _populate(now: datetime) -> None:
    first, second = a_worker("fra"), a_worker("hel")
    lost = a_worker("pi", lost_since=now, last_seen_at=now - timedelta(minutes=9))
    a_worker("new", state="pending", host={}, engine={})
    safe = a_drive("Coastal Field Recordings", replicas_min=2, replicas_max=3)
    for worker in (first, second):
        a_copy(safe, worker)
    risk = a_drive("Tide tables", replicas_min=2, replicas_max=2, max_fork=0, expires_at=now)
    a_copy(risk, first)
    copying = a_drive("Radio", note="a note")
    a_copy(
        copying, second, phase="downloading", have_blocks=4, have_bytes=400, completed_at=None,
        last_proven_at=None, grew_at=now,
    )  # fmt: skip
    a_drive("Waiting", length=None, fork=None, byte_length=None, observed_at=None)
    gone = a_drive("Gone")
    a_copy(gone, lost)
    safe.tags.add(Tag.objects.create(name="sound"))
    services.record_event("drive.seen", "seen for the first time", drive=safe, worker=first)
    services.record_event("worker.lost", "pi is lost", worker=lost)
    services.record_audit("cli", "drive.add", "Added 5 keys")
    Alert.objects.create(
        kind="worker.lost", subject="x", text="pi is lost", hint="Look after it", worker=lost
    )
    Alert.objects.create(kind="old", subject="y", text="was silent", resolved_at=now)
    source = Source.objects.create(
        name="lists",
        location="https://me:s3cret@lists.example/keys.json",
        last_error="answered 503",
        failures=2,
    )
    SourceEntry.objects.create(source=source, drive=safe)
    for metric, total in (("bytes_up", 9e6), ("bytes_down", 1e6)):
        at = now.replace(second=0, microsecond=0) - timedelta(hours=2)
        Sample.objects.create(scope="worker", subject=first.pk, metric=metric, span=60, at=at, total=total)


def text_of(response: Any) -> str:
    """What a person reads on the page."""
    return text_in(response.text)


def text_in(html: str) -> str:
    """What a person reads in a part of a page."""
    return " ".join(unescape(re.sub(r"<title>.*?</title>|<[^>]+>", " ", html, flags=re.S)).split())
