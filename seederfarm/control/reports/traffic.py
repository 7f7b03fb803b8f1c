"""Takes reports about the use of drives: bytes served, and peers of watched drives.

A worker may report anything. It counts for drives that it has a copy of, adds one row for each day and drive
and one for each watched copy, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

from django.db import transaction

from farmwire.message import MAX_COUNT, to_builtins
from farmwire.traffic import PeerList, Served
from seederfarm.registry.models import CopyPeers, Drive, Replica, Worker
from seederfarm.registry.sql import execute, rows_as_table

from ..history import samples

MAX_RATE: Final = 12_500_000_000
"""Bytes a second that a worker is believed to send, 100 Gbit/s. Ours."""
MIN_SPAN: Final = 60.0
"""Seconds that a report covers at least: workers report once a minute. Ours."""


def served(worker: Worker, reported: Sequence[Served], now: datetime) -> None:
    """Add bytes served to drives, once this transaction has committed: it has locked other drives."""
    since = MIN_SPAN if worker.last_seen_at is None else (now - worker.last_seen_at).total_seconds()
    maximum = min(MAX_COUNT, int(MAX_RATE * max(MIN_SPAN, since)))
    sums: dict[str, int] = {}
    for each in reported:
        sums[each.key] = min(maximum, sums.get(each.key, 0) + each.bytes)
    here = Replica.objects.filter(worker=worker, drive__key__in=[key for key, size in sums.items() if size])
    rows = sorted((drive, sums[key]) for drive, key in here.values_list("drive_id", "drive__key"))
    if rows:
        transaction.on_commit(partial(_add, rows, now), robust=True)


def _add(rows: Sequence[tuple[int, int]], now: datetime) -> None:
    table, parameters = rows_as_table((("id", "bigint"), ("bytes", "bigint")), rows)
    with transaction.atomic():
        # In the order of their ids, so that the transactions of two reports cannot deadlock.
        ids = [drive for drive, _ in rows]
        list(Drive.objects.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True).values_list("pk"))
        execute(
            "UPDATE registry_drive AS d SET served_at = %s, served_bytes = "
            "CASE WHEN d.served_bytes > %s - v.bytes THEN %s ELSE d.served_bytes + v.bytes END "
            f"FROM {table} WHERE d.id = v.id",
            [now, MAX_COUNT, MAX_COUNT, *parameters],
        )
        samples.record_served(rows, now)


def peers(worker: Worker, reported: Sequence[PeerList], now: datetime) -> None:
    """Keep the lists of copies whose drive is watched."""
    lists = {each.key: each for each in reported}
    here = Replica.objects.filter(
        worker=worker, desired=True, drive__key__in=lists, drive__watched_until__gt=now
    )
    rows = []
    for replica, key in here.order_by("pk").values_list("pk", "drive__key"):
        found = lists[key]
        total = max(found.total, len(found.peers))
        listed = [to_builtins(peer) for peer in found.peers]
        rows.append(CopyPeers(replica_id=replica, at=now, total=total, peers=listed))
    CopyPeers.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["replica"], update_fields=["at", "total", "peers"]
    )
