"""Many events of the flight recorder in one statement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import connection

from seederfarm.registry.sql import execute, rows_as_table


class EventRow(NamedTuple):
    """An event: the columns of registry.Event."""

    at: datetime
    kind: str
    severity: str
    drive_id: int | None
    worker_id: int | None
    text: str
    data: dict[str, Any]


_COLUMNS: Final = (
    ("at", "timestamptz"),
    ("kind", "text"),
    ("severity", "text"),
    ("drive_id", "bigint"),
    ("worker_id", "bigint"),
    ("text", "text"),
    ("data", "text"),
)


def record(events: Sequence[EventRow]) -> None:
    """Insert events. Texts are cut to the column's size."""
    if not events:
        return
    rows = [(*event[:5], event.text[:500], json.dumps(event.data)) for event in events]
    table, parameters = rows_as_table(_COLUMNS, rows)
    data = "v.data::jsonb" if connection.vendor == "postgresql" else "v.data"
    execute(
        "INSERT INTO registry_event (at, kind, severity, drive_id, worker_id, text, data) "
        f"SELECT v.at, v.kind, v.severity, v.drive_id, v.worker_id, v.text, {data} FROM {table}",
        parameters,
    )
