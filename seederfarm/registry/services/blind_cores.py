"""Cores that clients have workers' blind peers keep, as drives of the registry.

Clients are unknown peers, and a worker may be stolen. So what a worker reports makes drives that stay on this
worker: nothing that a person or a source wants moves for it, and the numbers of cores have bounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db import models
from django.db.models import Count, Exists, OuterRef, Q

from farmwire.blind_cores import MAX_CORES_OF_WORKER

from ..models import BlindClient, BlindCore, Drive, Replica, SourceEntry, Worker
from ..models.blind import UNKNOWN_CLIENT
from .drives import remove
from .keys import Listed, add_listed, assignments_changed


class Kept(NamedTuple):
    """A core that a blind peer keeps."""

    key: str
    client: str
    announced: bool = False
    active_at: datetime | None = None


def wanted_by_farm() -> Q:
    """Condition for drives that a person or a source wants."""
    return Q(added_manually=True) | Q(Exists(SourceEntry.objects.filter(drive=OuterRef("pk"))))


def of_wanted_drive() -> Exists:
    """The same condition for rows that have a `drive`."""
    return Exists(Drive.objects.filter(wanted_by_farm(), pk=OuterRef("drive")))


def register(worker: Worker, kept: Iterable[Kept], now: datetime) -> int:
    """Register cores that this worker's blind peer keeps, as drives of their clients. Returns how many could
    not be, for the bounds. Call it in a transaction that holds the worker's row."""
    newest = {core.key: core for core in kept}
    known = {row.drive.key: row for row in _rows(worker, newest).select_related("drive", "client")}
    new = [core for key, core in newest.items() if key not in known]
    admitted, full = _admit(worker, new)
    clients = _clients({core.client for core in (*admitted, *(newest[key] for key in known))})
    for key, row in known.items():
        _change(row, newest[key], clients)
    drives = _drives(worker, [core.key for core in admitted if core.client in clients])
    BlindCore.objects.bulk_create(
        [
            BlindCore(
                drive=drives[core.key],
                worker=worker,
                client=clients[core.client],
                announced=core.announced,
                created_at=now,
            )
            for core in admitted
            if core.key in drives
        ],
        ignore_conflicts=True,
    )
    _delete_unused([client.pk for client in clients.values()])
    BlindClient.objects.filter(key__in=full).update(refused_at=now)
    _used(newest.values(), now)
    return len(new) - len(admitted)


def unregister(worker: Worker, keys: Iterable[str], now: datetime) -> int:
    """The worker's blind peer keeps these cores no longer: a trusted client deleted them, or they made way.
    Drives that nothing else wants are removed. Returns how many. Call it in a transaction."""
    rows = list(_rows(worker, keys).values_list("pk", "drive_id"))
    ids = sorted({drive for _, drive in rows})
    if not ids:
        return 0
    list(Drive.objects.select_for_update().filter(pk__in=ids).order_by("key").values_list("pk"))
    clients = list(BlindCore.objects.filter(pk__in=[pk for pk, _ in rows]).values_list("client", flat=True))
    BlindCore.objects.filter(pk__in=[pk for pk, _ in rows]).delete()
    _delete_unused(clients)
    unwanted = Drive.objects.filter(~wanted_by_farm(), pk__in=ids)
    kept_elsewhere = Exists(BlindCore.objects.filter(drive=OuterRef("pk")))
    released = list(unwanted.values_list("pk", flat=True))
    Replica.objects.filter(worker=worker, drive_id__in=released, desired=True).update(
        desired=False, released_at=now
    )
    unwanted.filter(kept_elsewhere).update(dirty=True)
    assignments_changed([worker.pk])
    return remove(unwanted.filter(~kept_elsewhere), _actor(worker), force=True).removing


def unregister_all(worker: Worker, now: datetime) -> int:
    """The worker leaves the farm."""
    keys = BlindCore.objects.filter(worker=worker).values_list("drive__key", flat=True)
    return unregister(worker, keys, now)


def _rows(worker: Worker, keys: Iterable[str]) -> models.QuerySet[BlindCore]:
    return BlindCore.objects.filter(worker=worker, drive__key__in=list(keys))


def _actor(worker: Worker) -> str:
    """Bounded in the audit log as sources are."""
    return f"source blind peer {worker.name}"


def _admit(worker: Worker, new: Sequence[Kept]) -> tuple[list[Kept], set[str]]:
    """Those for which there is room, and the clients of the others."""
    if not new:
        return [], set()
    room = MAX_CORES_OF_WORKER - BlindCore.objects.filter(worker=worker).count()
    of_clients = BlindClient.objects.filter(key__in={core.client for core in new})
    counts = Counter(dict(of_clients.annotate(n=Count("cores")).values_list("key", "n")))
    admitted: list[Kept] = []
    full: set[str] = set()
    for core in new:
        may_more = (
            core.client == UNKNOWN_CLIENT or counts[core.client] < settings.FARM.blind_peer_client_cores
        )
        if may_more and len(admitted) < room:
            admitted.append(core)
            counts[core.client] += 1
        elif core.client != UNKNOWN_CLIENT:
            full.add(core.client)
    return admitted, full


def _clients(keys: Iterable[str]) -> dict[str, BlindClient]:
    """The rows of these clients, locked: one that loses its last core meanwhile is deleted."""
    wanted = sorted(keys)
    known = set(BlindClient.objects.filter(key__in=wanted).values_list("key", flat=True))
    made = [BlindClient(key=key) for key in wanted if key not in known]
    BlindClient.objects.bulk_create(made, ignore_conflicts=True)
    rows = BlindClient.objects.select_for_update().filter(key__in=wanted).order_by("key")
    return {client.key: client for client in rows}


def _change(row: BlindCore, core: Kept, clients: Mapping[str, BlindClient]) -> None:
    client = clients.get(core.client, row.client)
    if (row.client_id, row.announced) != (client.pk, core.announced):
        before, row.client, row.announced = row.client_id, client, core.announced
        row.save(update_fields=["client", "announced"])
        _delete_unused([before])


def _drives(worker: Worker, keys: Sequence[str]) -> dict[str, Drive]:
    if not keys:
        return {}
    number = settings.FARM.blind_peer_replicas
    result = add_listed(
        [Listed(key, Drive.Kind.CORE, number) for number, key in enumerate(keys, 1)],
        replicas=(number, number),
        added_manually=False,
        actor=_actor(worker),
    )
    return {drive.key: drive for drive in (*result.added, *result.existing)}


def _delete_unused(clients: Iterable[int]) -> None:
    unused = ~Exists(BlindCore.objects.filter(client=OuterRef("pk")))
    BlindClient.objects.filter(unused, pk__in=list(clients)).delete()


def _used(cores: Iterable[Kept], now: datetime) -> None:
    """A worker's clock may be ahead."""
    latest: dict[str, datetime] = {}
    for core in cores:
        if core.active_at is not None:
            at = min(core.active_at, now)
            latest[core.client] = max(at, latest.get(core.client, at))
    for key, at in latest.items():
        older = Q(active_at__isnull=True) | Q(active_at__lt=at)
        BlindClient.objects.filter(older, key=key).update(active_at=at)
