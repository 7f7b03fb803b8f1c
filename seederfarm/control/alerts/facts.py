"""Facts for the rules: a fixed number of queries, however many drives and workers there are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Exists, Max, OuterRef, Q

from seederfarm.registry.growth import growths
from seederfarm.registry.health import ARRIVING
from seederfarm.registry.health_states import RANK, Health
from seederfarm.registry.models import BlindClient, Drive, Replica, Source, Worker
from seederfarm.registry.models.worker import silent_since
from seederfarm.registry.queries import with_load
from seederfarm.registry.sql import batches

from .rules import ClientFacts, CopyFacts, DriveFacts, SourceFacts, WorkerFacts

IN_FARM: Final = (Worker.State.ACTIVE, Worker.State.DRAINING)
REFUSED_WITHIN: Final = timedelta(minutes=30)
"""Workers report what is not registered again every ten minutes."""


def unwell() -> dict[Health, list[int]]:
    """Drives that are short of copies, and unavailable ones."""
    found: dict[Health, list[int]] = {Health.AT_RISK: [], Health.UNAVAILABLE: []}
    rows = Drive.objects.filter(health_rank__in=[RANK[health] for health in found]).order_by("pk")
    for pk, health in rows.values_list("pk", "health"):
        found[Health(health)].append(pk)
    return found


def upstream_gone(now: datetime) -> list[int]:
    """Drives of which no copy was ever complete, no peer is connected, and no block arrives."""
    copies = Replica.objects.filter(drive=OuterRef("pk"), desired=True).order_by()
    waits = Q(peers=0) & (Q(grew_at__isnull=True) | Q(grew_at__lt=now - ARRIVING))
    rows = Drive.objects.filter(state=Drive.State.ACTIVE, under_replicated=True, length__gt=0).filter(
        ~Exists(copies.filter(completed_at__isnull=False)),
        Exists(copies.filter(have_blocks__gt=0)),
        ~Exists(copies.filter(~waits)),
    )
    return list(rows.order_by("pk").values_list("pk", flat=True))


def drives(ids: Sequence[int]) -> list[DriveFacts]:
    """Return the facts of these drives."""
    found: list[DriveFacts] = []
    for batch in batches(ids, 500):
        rows = Drive.objects.filter(pk__in=batch).order_by("pk")
        copies = dict(
            (row["drive"], row)
            for row in Replica.objects.filter(drive__in=batch, desired=True)
            .order_by()
            .values("drive")
            .annotate(
                complete=Count("pk", filter=Q(phase=Replica.Phase.COMPLETE)),
                have=Max("have_bytes"),
                total=Max("total_bytes"),
            )
        )
        for drive in rows:
            seen = copies.get(drive.pk, {"complete": 0, "have": 0, "total": 0})
            found.append(
                DriveFacts(
                    drive.pk,
                    str(drive),
                    drive.counted,
                    seen["complete"],
                    drive.replicas_min,
                    drive.proven_at,
                    drive.last_writer_seen_at,
                    seen["have"] or 0,
                    seen["total"] or 0,
                )
            )
    return found


def workers(now: datetime) -> tuple[list[WorkerFacts], list[WorkerFacts], list[WorkerFacts]]:
    """All workers of the farm, the silent ones, and the lost ones."""
    rows = list(with_load(Worker.objects.filter(state__in=IN_FARM).order_by("pk")))
    growth = growths({row.pk: row.used_bytes for row in rows}, now)
    alone = _alone([row.pk for row in rows if row.lost_since is not None])
    silent_seconds = (now - silent_since(now)).total_seconds()
    everyone, silent, lost = [], [], []
    for row in rows:
        seconds = (now - (row.last_seen_at or row.enrolled_at)).total_seconds()
        facts = WorkerFacts(
            row.pk,
            row.name,
            seconds,
            getattr(row, "copies", 0),
            row.free_bytes,
            row.used_bytes,
            alone.get(row.pk, 0),
            growth.get(row.pk),
        )
        everyone.append(facts)
        if row.lost_since is not None:
            lost.append(facts)
        elif seconds > silent_seconds:
            silent.append(facts)
    return everyone, silent, lost


def _alone(lost: Sequence[int]) -> dict[int, int]:
    """Of these workers, how many copies have no complete copy on a worker that serves."""
    if not lost:
        return {}
    others = Replica.objects.filter(
        drive=OuterRef("drive"),
        desired=True,
        phase=Replica.Phase.COMPLETE,
        worker__state__in=IN_FARM,
        worker__paused=False,
        worker__lost_since__isnull=True,
    )
    rows = Replica.objects.filter(~Exists(others), worker__in=lost, desired=True).order_by()
    return dict(rows.values_list("worker").annotate(n=Count("pk")))


def sources(threshold: int) -> list[SourceFacts]:
    """Sources that are read, and whose readings fail."""
    rows = Source.objects.filter(enabled=True, failures__gte=threshold).order_by("pk")
    columns = ("pk", "name", "failures", "last_error", "listed")
    return [SourceFacts(*row) for row in rows.values_list(*columns)]


def refused_clients(now: datetime) -> list[ClientFacts]:
    """Clients of blind peers with cores that could not be registered lately."""
    rows = BlindClient.objects.filter(refused_at__gte=now - REFUSED_WITHIN).order_by("pk")
    return [ClientFacts(row.pk, str(row), row.n) for row in rows.annotate(n=Count("cores"))]


def unproven(threshold: int) -> list[int]:
    """Copies with so many wrong answers in a row."""
    rows = Replica.objects.filter(
        proof_failures__gt=0,  # what the index has
        proof_failures__gte=threshold,
        desired=True,
        worker__state__in=IN_FARM,
        worker__lost_since__isnull=True,
    )
    return list(rows.order_by("pk").values_list("pk", flat=True))


def copies(ids: Sequence[int]) -> list[CopyFacts]:
    """Return the facts of these copies."""
    found: list[CopyFacts] = []
    for batch in batches(ids, 500):
        rows = list(Replica.objects.filter(pk__in=batch).select_related("drive", "worker").order_by("pk"))
        found += [
            CopyFacts(
                row.pk,
                row.drive_id,
                str(row.drive),
                row.worker_id,
                row.worker.name,
                row.proof_failures,
                row.drive.counted,
                row.drive.replicas_min,
            )
            for row in rows
        ]
    return found
