"""Waits for copies, with two queries for each check. Import after `django_setup.open_farm`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import click
from django.db.models import Count, Max, Q

from workers import units

from ...registry.models import Drive, Replica
from ...registry.sql import batches
from ..common.failures import Failure
from .output import copies_of, json_lines, plain

POLL: Final = 0.5
MAX_POLL: Final = 5.0
"""Seconds between two looks: the first, and a hundredth of a second for each drive that is waited for, up to
the second."""
BATCH: Final = 10_000
"""Drives of one query."""


class _Progress(NamedTuple):
    """Numbers of the copies of a drive."""

    complete: int = 0
    counted: int = 0
    """Those of them that have proven it, too."""
    have_bytes: int = 0
    """Of the fullest."""
    bytes: int = 0


def _progress(ids: Sequence[int]) -> dict[int, _Progress]:
    """By drive. One query for each BATCH drives."""
    found: dict[int, _Progress] = {}
    complete = Count("pk", filter=Q(phase=Replica.Phase.COMPLETE))
    for batch in batches(ids, BATCH):
        rows = Replica.objects.filter(drive_id__in=batch, desired=True).order_by().values_list("drive_id")
        for pk, *numbers in rows.annotate(
            complete=complete,
            counted=Count("pk", filter=Q(proven=True)),
            fullest=Max("have_bytes"),
            known=Max("total_bytes"),
        ):
            found[pk] = _Progress(*numbers)
    return found


def wait_complete(ids: Sequence[int], number: int, timeout: float | None, as_json: bool) -> None:
    """Wait until every drive has `number` complete copies, proven or not; 0: as many as it should have."""
    until = None if timeout is None else time.monotonic() + timeout
    printed: dict[int, _Progress] = {}
    waiting = list(ids)
    while True:
        progress = _progress(waiting)
        missing: list[int] = []
        for batch in batches(waiting, BATCH):
            for drive in Drive.objects.filter(pk__in=batch).order_by("-pk"):
                now = progress.get(drive.pk, _Progress())
                wanted = number or drive.replicas_min
                if printed.get(drive.pk) != now:
                    printed[drive.pk] = now
                    _print_progress(drive, now, wanted, as_json)
                if now.complete < wanted:
                    missing.append(drive.pk)
        if not missing:
            return
        if until is not None and time.monotonic() > until:
            raise Failure(
                f"{units.plural(len(missing), 'key')} did not get complete within {timeout:g} s; "
                "the farm goes on with them"
            )
        waiting = missing
        time.sleep(min(MAX_POLL, max(POLL, len(waiting) / 100)))


def _print_progress(drive: Drive, now: _Progress, wanted: int, as_json: bool) -> None:
    if as_json:
        fields = {"complete": now.complete, "proven": now.counted, "wanted": wanted}
        fields |= {"have_bytes": now.have_bytes, "bytes": now.bytes}
        json_lines([{"event": "progress", "key": drive.key, **fields}])
        return
    size = f", {units.format_have_of(now.have_bytes, now.bytes)}" if now.bytes else ""
    pending = ", proof pending" if now.counted < min(now.complete, wanted) else ""
    copies = copies_of(now.complete, drive.replicas_min, drive.replicas_max)
    click.echo(f"{plain(drive)}: copies {copies}{pending}{size}", err=True)


def fewer_than(ids: Sequence[int], number: int) -> Iterator[Drive]:
    """Drives that get fewer copies than that, at most."""
    for batch in batches(ids, BATCH):
        yield from Drive.objects.filter(pk__in=batch, replicas_max__lt=number)[:1]
