"""Events and alerts of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from django.db import transaction

from hypercore.keys import short_key
from seederfarm.placement.model import Assign, Release, Unplaced
from seederfarm.registry.models import Drive, Event
from seederfarm.registry.models.history import Severity
from seederfarm.registry.sql import batches

from ..history import alerts

MAX_UNPLACED_ALERTS: Final = 2000
"""Unplaced drives that get an alert each."""


def _names(ids: set[int]) -> dict[int, tuple[str, str]]:
    """Names and keys of drives."""
    found: dict[int, tuple[str, str]] = {}
    for batch in batches(sorted(ids), 1000):
        rows = Drive.objects.filter(pk__in=batch).values_list("pk", "label", "title", "key")
        found.update(
            (pk, (label or title or short_key(bytes.fromhex(key)), key)) for pk, label, title, key in rows
        )
    return found


def record_assigned(moves: Sequence[Assign], names: Mapping[int, str], now: datetime) -> None:
    """Record an event for each new copy. `names`: of workers, by primary key. Drives deleted meanwhile are
    left out."""
    drives = _names({move.drive for move in moves})
    Event.objects.bulk_create(
        [
            Event(
                at=now,
                kind="replica.assigned",
                drive_id=move.drive,
                worker_id=move.worker,
                text=f"{names[move.worker]} gets a copy of {drives[move.drive][0]}"[:500],
                data={"key": drives[move.drive][1], "bytes": move.bytes},
            )
            for move in moves
            if move.drive in drives
        ]
    )


def record_released(moves: Sequence[Release], names: Mapping[int, str], now: datetime) -> None:
    """Record an event, with its reason, for each copy given up. `names`: of workers, by primary key."""
    drives = _names({move.drive for move in moves})
    Event.objects.bulk_create(
        [
            Event(
                at=now,
                kind="replica.released",
                drive_id=move.drive,
                worker_id=move.worker if move.worker in names else None,
                text=f"{names.get(move.worker, 'A worker')} releases its copy of "
                f"{drives[move.drive][0]}: {move.reason}"[:500],
                data={"key": drives[move.drive][1], "reason": move.reason.name.lower()},
            )
            for move in moves
            if move.drive in drives
        ]
    )


def update_unplaced_alerts(
    unplaced: Sequence[Unplaced], checked: Sequence[int] | None, now: datetime
) -> None:
    """Raise alerts for unplaced drives, with an event for a new one; resolve the others.

    `checked` are the drives of the plan, None for all.
    """
    short = {item.drive: item for item in unplaced[:MAX_UNPLACED_ALERTS]}
    drives = _names(set(short))
    specs = [
        alerts.AlertSpec(
            kind="drive.unplaced",
            subject=f"drive.unplaced:{pk}",
            text=f"{drives[pk][0]} {item.why}",
            hint="Add a worker or room, or ask for fewer copies.",
            drive_id=pk,
        )
        for pk, item in short.items()
        if pk in drives
    ]
    with transaction.atomic():
        new = alerts.raise_alerts(specs, now)
        Event.objects.bulk_create(
            [
                Event(
                    at=now,
                    kind="drive.unplaced",
                    severity=Severity.WARNING,
                    drive_id=spec.drive_id,
                    text=spec.text[:500],
                    data={"key": drives[spec.drive_id][1], "missing": short[spec.drive_id].missing},
                )
                for spec in new
                if spec.drive_id is not None
            ]
        )
        alerts.resolve_others("drive.unplaced", set(short), checked, now)
