"""Rows of a large farm that has run for a while: drives of every state, copies, events, a day of samples.

PostgreSQL only: one drive of each state is made, and the database makes the others like it.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final

COPIES: Final = 3
SIZE: Final = 100_000_000
LENGTH: Final = 1526
SHARES: Final[dict[str, int]] = {
    "safe": 920, "copying": 20, "at risk": 20, "unavailable": 5, "waiting": 20, "rewritten": 5, "paused": 8,
    "removing": 2,
}  # fmt: skip
"""Of a thousand drives."""
HOST: Final = {
    "cpu_percent": 12.0, "load": 0.4, "cores": 4, "memory_bytes": 8 * 10**9, "memory_used_bytes": 10**9,
    "disk_bytes": 10**13, "disk_free_bytes": 5 * 10**12, "uptime": 90_000.0,
}  # fmt: skip
ENGINE: Final = {
    "running": True, "shards": 1, "restarts": 0, "hung": 0, "connections": 40, "firewalled": False,
    "rss_bytes": 10**8, "stored_bytes": 10**12, "up_per_second": 1e6, "down_per_second": 1e3,
}  # fmt: skip


def fill(drives: int, workers: int, now: datetime) -> None:
    """A farm of that many drives and online workers, with three copies of each drive."""
    from django.db import connection

    _make_workers(workers, now)
    with connection.cursor() as cursor:
        for name, share in SHARES.items():
            _like(cursor, _first(name, now), max(0, drives * share // 1000 - 1), workers)
        for statement in _ROWS:
            cursor.execute(statement, {"now": now})
    _history(now)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _make_workers(number: int, now: datetime) -> None:
    from farmwire.envelope import node_id
    from seederfarm.registry.models import Worker

    from .control import key_pair

    Worker.objects.bulk_create(
        Worker(
            node_id=node_id(key_pair(at).public_key),
            name=f"w{at}",
            zone=f"zone {at % 7}",
            state="active",
            last_seen_at=now + timedelta(days=1),  # online, however long the benchmark takes
            free_bytes=10**13,
            used_bytes=10**12,
            capacity_bytes=10**13,
            host=HOST,
            engine=ENGINE,
        )
        for at in range(number)
    )


def _first(name: str, now: datetime) -> int:
    """Primary key of a drive in a state; its copies are on the first workers."""
    from seederfarm.registry.models import Alert, Drive, Replica, Worker
    from seederfarm.registry.models.history import FORK_ALERT

    seen = name != "waiting"
    drive = Drive.objects.create(
        key=hashlib.sha256(name.encode()).hexdigest(),
        kind="drive" if seen else "",
        label=f"{name} 0",
        note=name,
        state=name if name in ("paused", "removing") else "active",
        removing_since=now if name == "removing" else None,
        replicas_min=2,
        replicas_max=COPIES,
        length=LENGTH if seen else None,
        fork=0 if seen else None,
        byte_length=SIZE if seen else None,
        observed_at=now if seen else None,
        dirty=False,
        under_replicated=name in ("copying", "at risk", "unavailable"),
    )
    day = now - timedelta(days=1)
    for slot, worker in enumerate(Worker.objects.order_by("pk")[:COPIES]):
        whole = name not in ("waiting", "unavailable") and (slot == 0 or name not in ("copying", "at risk"))
        have = LENGTH if whole else LENGTH // 3 if seen else 0
        Replica.objects.create(
            drive=drive,
            worker=worker,
            phase="complete" if whole else "downloading" if seen else "looking",
            length=LENGTH if seen else 0,
            have_blocks=have,
            total_blocks=LENGTH if seen else 0,
            have_bytes=SIZE * have // LENGTH,
            total_bytes=SIZE if seen else 0,
            peers=slot,
            last_report_at=now,
            completed_at=day if whole else None,
            last_proven_at=now if whole else None,
            proven_length=LENGTH if whole else 0,
            last_challenged_at=now if whole else None,
            # arrives, however long the benchmark takes
            grew_at=now + timedelta(days=1) if name == "copying" and not whole else day,
            created_at=day,
        )
    if name == "rewritten":
        Alert.objects.create(kind=FORK_ALERT, subject=f"fork:{drive.pk}", text="was rewritten", drive=drive)
    return int(drive.pk)


def _like(cursor: Any, first: int, number: int, workers: int) -> None:
    """Make that many drives like the first, with open alerts like its own, and copies on other workers."""
    from seederfarm.registry.models import Alert, Drive, Replica, Worker

    base = Worker.objects.order_by("pk").values_list("pk", flat=True)[0]
    cursor.execute(
        _insert(Drive, {"key": "md5(r.key || n) || md5(n || r.key)", "note": "r.id::text"})
        + "FROM registry_drive r, generate_series(1, %s) n WHERE r.id = %s",
        [number, first],
    )
    spread = f"{base} + (d.id + r.worker_id) %% {workers}"
    for model, own in ((Replica, {"worker_id": spread}), (Alert, {"subject": "r.subject || '.' || d.id"})):
        cursor.execute(
            _insert(model, {"drive_id": "d.id", **own})
            + f"FROM {model._meta.db_table} r JOIN registry_drive d ON d.note = %s WHERE r.drive_id = %s",
            [str(first), first],
        )


def _insert(model: Any, own: dict[str, str]) -> str:
    """All columns as row `r` has them, but for its own."""
    columns = [f.column for f in model._meta.concrete_fields if f.column != "id" and not f.generated]
    values = ", ".join(own.get(name, f"r.{name}") for name in columns)
    return f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) SELECT {values} "


_ROWS: Final = (
    # Each is a little different: name, kind, size, length, and when it was added
    "UPDATE registry_drive SET label = 'Drive ' || id, byte_length = byte_length + id * 7919 %% 1000000, "
        "length = length - id %% 100, created_at = %(now)s - id * interval '1 minute', "
        "kind = CASE WHEN kind = '' THEN '' ELSE (ARRAY['drive', 'core', 'bee'])[id %% 3 + 1] END",
    # Proven during the last 20 hours
    "UPDATE registry_replica SET last_proven_at = last_proven_at - id %% 72000 * interval '1 second', "
        "completed_at = completed_at - interval '1 hour'",
    "INSERT INTO registry_event (at, kind, severity, drive_id, worker_id, text, data) "
        "SELECT %(now)s - r.id * interval '1 second', 'replica.complete', 'info', r.drive_id, r.worker_id, "
        "'The copy is complete', '{}' FROM registry_replica r",
    "INSERT INTO registry_tag (name) SELECT 'tag ' || n FROM generate_series(1, 20) n",
    "INSERT INTO registry_drive_tags (drive_id, tag_id) SELECT d.id, t.id FROM registry_drive d "
        "JOIN registry_tag t ON t.name = 'tag ' || (d.id %% 20 + 1)",
)  # fmt: skip


def _history(now: datetime) -> None:
    """A day of rates of each worker, and a source that lists a tenth of the drives."""
    from seederfarm.registry.models import AuditEntry, Drive, Sample, Source, SourceEntry, Worker

    quarter = now.replace(minute=0, second=0, microsecond=0)
    Sample.objects.bulk_create(
        [
            Sample(
                scope="worker", subject=pk, metric=metric, span=900, count=15, total=1e9, minimum=1e6,
                maximum=1e8, at=quarter - timedelta(minutes=15 * number),
            )
            for pk in Worker.objects.values_list("pk", flat=True)
            for metric in ("bytes_up", "bytes_down")
            for number in range(96)
        ],
        batch_size=5000,
    )  # fmt: skip
    source = Source.objects.create(name="lists", location="https://lists.example/keys.json")
    every = Drive.objects.order_by("pk").values_list("pk", flat=True)
    SourceEntry.objects.bulk_create(
        [SourceEntry(source=source, drive_id=pk) for pk in every if pk % 10 == 0], batch_size=5000
    )
    AuditEntry.objects.bulk_create(
        [AuditEntry(actor="cli", action="drive.add", text=f"Added {number} keys") for number in range(5000)]
    )
