"""Finds out which watched drives changed, by digests of all that their pages show."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from django.db.models import Max

from seederfarm.registry.models import Drive, Event, Replica

_OF_DRIVE: Final = [
    field.attname for field in Drive._meta.concrete_fields if field.attname != "watched_until"
]
_OF_COPY: Final = [
    *(field.attname for field in Replica._meta.concrete_fields),
    "worker__name", "worker__zone", "worker__state", "worker__lost_since",
]  # fmt: skip


def digests_of(keys: Collection[str]) -> dict[str, tuple[int, int]]:
    """Return, by key, of the drives that are registered: a number that changes with the drive, its copies or
    their workers, and the id of its last event (0: none). Three queries.

    The numbers are comparable within this process.
    """
    rows = Drive.objects.filter(key__in=keys).values_list("pk", "key", *_OF_DRIVE)
    found = {row[0]: (row[1], [_hash(row)]) for row in rows}
    here = list(found)
    for copy in Replica.objects.filter(drive__in=here).order_by("pk").values_list("drive_id", *_OF_COPY):
        found[copy[0]][1].append(_hash(copy))
    events = Event.objects.filter(drive__in=here).order_by("drive_id").values("drive_id")
    last = dict(events.annotate(last=Max("pk")).values_list("drive_id", "last"))
    return {key: (hash(tuple(parts)), last.get(drive, 0)) for drive, (key, parts) in found.items()}


def _hash(row: tuple[Any, ...]) -> int:
    return hash(tuple(tuple(value) if isinstance(value, list) else value for value in row))
