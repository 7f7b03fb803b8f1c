"""The blocks of copies, and copies with blocks that no other copy has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from farmwire.gaps import Holding, from_text, stands_in

from ..health import proofs_since, serves
from ..health_query import counting
from ..models import Drive, Replica, Worker
from ..models.replica import MAX_PROOF_FAILURES
from ..sql import batches, stored

HOLDING: Final = ("fork", "length", "total_blocks", "have_blocks", "gaps")
"""Columns of a replica that `holding_of` takes, in this order."""

AS_FULL: Final = """(
  (o.fork = r.fork AND o.length >= r.length AND o.have_blocks >= r.have_blocks)
  OR (o.fork > r.fork AND o.last_proven_at IS NOT NULL
    AND o.have_blocks > 0 AND o.have_blocks >= o.total_blocks)
  OR r.have_blocks = 0)"""
"""SQL: whether replica `o` may be as full as replica `r`, by numbers. A higher fork counts only when proven:
until then it is the worker's claim."""

STANDS_IN: Final = f"""(o.proven OR (r.phase <> 'complete' AND o.phase <> 'complete'
    AND o.have_blocks > 0 AND o.proof_failures < {MAX_PROOF_FAILURES})) AND {AS_FULL}"""
"""SQL: whether replica `o` may take the place of replica `r`, by numbers: it is proven, or neither reports
to be complete."""

COMPARED_AT_ONCE: Final = 1000
"""Drives whose copies are compared block by block at a time."""


def holding_of(fork: int, length: int, total_blocks: int, have_blocks: int, gaps: str) -> Holding:
    """Return the blocks of a copy, from the columns in HOLDING. Gaps in an unknown format count as none
    known."""
    try:
        known = from_text(gaps)
    except ValueError:  # written by a later version: unknown
        known = ()
    return Holding(fork, length, total_blocks, have_blocks, known)


def last_copies_on(worker: Worker) -> list[int]:
    """Drives whose copy on `worker` has blocks that no other copy certainly has. Copies on retired and lost
    workers, and complete ones without a proof, do not count."""
    others = _that_count(worker).filter(
        Q(gaps="") | Q(gaps=OuterRef("gaps")),
        drive=OuterRef("drive"),
        fork=OuterRef("fork"),
        length__gte=OuterRef("length"),
        have_blocks__gte=OuterRef("have_blocks"),
        proven=True,
    )
    here = Replica.objects.filter(worker=worker, have_blocks__gt=0)
    doubtful = here.exclude(drive__state=Drive.State.REMOVING).filter(~Exists(others))
    ids = list(doubtful.order_by("drive_id").values_list("drive_id", flat=True))
    alone: list[int] = []
    for start in range(0, len(ids), COMPARED_AT_ONCE):
        alone += _compared(worker, ids[start : start + COMPARED_AT_ONCE])
    return alone


def below_minimum_without(worker: Worker) -> int:
    """Number of drives that have fewer copies than their minimum without the one on `worker`, of those that
    count."""
    if not serves(worker):
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM registry_replica r JOIN registry_drive d ON d.id = r.drive_id "
            "WHERE r.worker_id = %s AND r.desired AND d.state = 'active' AND d.counted > 0 "
            f"AND d.counted <= d.replicas_min AND {counting()}",
            [worker.pk, stored(proofs_since(timezone.now()))],
        )
        return int(cursor.fetchone()[0])


def _that_count(worker: Worker) -> QuerySet[Replica]:
    return Replica.objects.exclude(worker=worker).filter(
        Q(proven=True) | ~Q(phase=Replica.Phase.COMPLETE),
        desired=True,
        proof_failures__lt=MAX_PROOF_FAILURES,
        worker__state__in=[Worker.State.ACTIVE, Worker.State.DRAINING],
        worker__lost_since__isnull=True,
    )


def _compared(worker: Worker, drive_ids: Sequence[int]) -> list[int]:
    """The drives whose copy on `worker` no other copy can replace."""
    fields = ("drive_id", "phase", "last_proven_at", *HOLDING)
    others: dict[int, list[tuple[bool, bool, Holding]]] = {}
    for drive_id, phase, proven, *numbers in (
        _that_count(worker).filter(drive_id__in=drive_ids).values_list(*fields)
    ):
        complete = phase == Replica.Phase.COMPLETE
        others.setdefault(drive_id, []).append((complete, proven is not None, holding_of(*numbers)))
    alone = []
    for drive_id, phase, _, *numbers in Replica.objects.filter(
        worker=worker, drive_id__in=drive_ids
    ).values_list(*fields):
        here, done = holding_of(*numbers), phase == Replica.Phase.COMPLETE
        if not any(
            (proven or other.fork <= here.fork)
            and stands_in(other, here, complete=complete, other_complete=done)
            for complete, proven, other in others.get(drive_id, ())
        ):
            alone.append(drive_id)
    return alone


def lock_copies(drive_ids: Iterable[int]) -> None:
    """Lock the rows of all copies of these drives until the transaction ends.

    Call it before comparing copies in order to delete one: otherwise two transactions could each count on the
    copy that the other deletes. SQLite has one writer at a time.
    """
    if not connection.features.has_select_for_update:
        return
    for batch in batches(sorted(set(drive_ids)), COMPARED_AT_ONCE):
        rows = Replica.objects.filter(drive_id__in=batch).order_by("drive_id", "pk")
        for _ in rows.select_for_update().values_list("pk").iterator():
            pass
