"""The clients of the farm's blind peers, and what they have kept."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum

from hypercore.keys import encode_key

from .models import BlindCore, Drive, Replica, Worker


class ClientUse(NamedTuple):
    """A client, and what of its cores is registered."""

    key: str
    """z-base-32."""
    cores: int
    bytes: int
    """Of stored blocks, at each worker that keeps them for it."""
    active_at: datetime | None
    """When it, or a reader, last used one of its cores."""
    refused_at: datetime | None
    """When a core of it was last not registered, because it or the worker has as many as it may."""


class ClientOfDrive(NamedTuple):
    """A client that has a drive kept."""

    key: str
    """z-base-32."""
    worker: str
    """Whose blind peer keeps it."""


def clients_with_use(limit: int, worker: Worker | None = None) -> list[ClientUse]:
    """The clients with most cores, of one worker or of all. One query."""
    rows: QuerySet[BlindCore] = BlindCore.objects.order_by()
    if worker is not None:
        rows = rows.filter(worker=worker)
    copy = Replica.objects.filter(drive=OuterRef("drive"), worker=OuterRef("worker")).values("have_bytes")
    found = (
        rows.annotate(here=Subquery(copy))
        .values("client__key", "client__active_at", "client__refused_at")
        .annotate(cores=Count("pk"), stored=Sum("here"))
        .order_by("-cores", "client__key")[:limit]
    )
    return [
        ClientUse(
            encode_key(bytes.fromhex(row["client__key"])),
            row["cores"],
            row["stored"] or 0,
            row["client__active_at"],
            row["client__refused_at"],
        )
        for row in found
    ]


def clients_of(drive: Drive) -> list[ClientOfDrive]:
    """The clients that have this drive kept, by worker. One query."""
    rows = drive.blind_cores.order_by("worker__name").values_list("client__key", "worker__name")
    return [ClientOfDrive(encode_key(bytes.fromhex(key)), worker) for key, worker in rows]
