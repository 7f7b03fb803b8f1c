"""Computes what the next plan would do, in the registry's terms (`registry.services.next_plan`)."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils import timezone

from seederfarm.registry.services.next_plan import LISTED, Move, NextPlan

from .reconcile import ReconcileResult, reconcile


def preview(max_drives: int | None) -> NextPlan:
    """Plan `max_drives` drives at most, the first by priority, and change nothing."""
    now = timezone.now()
    result = reconcile(dry_run=True, keep=LISTED, max_drives=max_drives, now=now)
    return NextPlan(
        at=now,
        drives=result.drives,
        left_out=result.left_out,
        assigned=result.assigned,
        released=result.released,
        short=result.short,
        bytes=result.bytes,
        moves=list(_moves(result)),
    )


def _moves(result: ReconcileResult) -> Iterator[Move]:
    for made in result.assign:
        yield Move("assign", made.drive, made.worker, bytes=made.bytes)
    for freed in result.release:
        yield Move("release", freed.drive, freed.worker, reason=freed.reason.value)
    for short in result.unplaced:
        yield Move("unplaced", short.drive, missing=short.missing, reason=short.why)
