"""What a worker reports of a copy is stored whole, and only there is it listed which fields there are."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from farmwire.gaps import CoreGaps, to_text
from farmwire.message import MAX_COUNT
from farmwire.report import Phase, ReplicaFacts, ReplicaReport
from seederfarm.control.reconcile import apply
from seederfarm.control.reports.ingest import Report, apply_report
from seederfarm.placement.model import Assign
from seederfarm.registry.models import Drive, Replica, Worker
from seederfarm.registry.reported import COLUMNS, KEPT, OF_THE_DRIVE, RESET

from .factories import make_drive, make_worker

pytestmark = pytest.mark.usefixtures("database")
SECOND = timedelta(seconds=1)


def whole_report(drive: Drive, at: datetime, **changes: object) -> ReplicaReport:
    """No field has the value that it has when it is left out."""
    facts: dict[str, object] = {
        "length": 20, "fork": 3, "blocks": 30, "have_blocks": 25, "bytes": 3000, "have_bytes": 2500,
        "unavailable_blocks": 5, "unavailable_bytes": 500, "peers": 7, "error": "DISK: slow", "attempts": 4,
        "gaps": (CoreGaps(length=20, runs=[2, 7]), CoreGaps(length=10)), "title": "Films",
        "writer_seen_at": at.timestamp(), "files": 12, "file_bytes": 2400, "files_version": 19,
    }  # fmt: skip
    assert set(facts) == set(ReplicaFacts.__struct_fields__), "another field: give it a value here"
    values: dict[str, object] = {"key": drive.key, "phase": Phase.COMPLETE, "kind": "core"}
    return ReplicaReport(**values, **(facts | changes), observed_at=at.timestamp())  # type: ignore[arg-type]


def take(worker: Worker, report: ReplicaReport, now: datetime) -> dict[str, object]:
    """The columns of the copy once it is reported, by field."""
    assert apply_report(worker, Report(replicas=[report]), now).applied == 1
    return columns()


def columns() -> dict[str, object]:
    row = Replica.objects.get()
    return {column.field: getattr(row, column.name) for column in COLUMNS}


def test_every_field_is_kept_with_the_copy_or_with_its_drive() -> None:
    fields = [column.field for column in COLUMNS]
    assert sorted([*fields, *OF_THE_DRIVE]) == sorted(ReplicaFacts.__struct_fields__)
    assert set(fields) > KEPT
    drive, worker, now = make_drive(), make_worker(), timezone.now()
    Replica.objects.create(drive=drive, worker=worker)
    report = whole_report(drive, now)
    found = take(worker, report, now)
    assert found == {
        field: to_text(report.gaps) if field == "gaps" else getattr(report, field) for field in fields
    }
    drive.refresh_from_db()
    assert (drive.title, drive.last_writer_seen_at) == ("Films", now)
    assert (drive.files, drive.file_bytes, drive.files_version) == (12, 2400, 19)


def test_a_copy_that_is_assigned_again_begins_anew_but_for_the_size_that_is_known() -> None:
    drive, worker, now = make_drive(), make_worker(), timezone.now()
    Replica.objects.create(drive=drive, worker=worker)
    fresh = columns()
    before = take(worker, whole_report(drive, now), now)
    Replica.objects.update(desired=False, released_at=now)
    apply.assign([Assign(drive.pk, worker.pk, 0)], now)
    after = columns()
    for column in COLUMNS:
        expected = fresh if column in RESET else before
        assert after[column.field] == expected[column.field], column.name
    Replica.objects.all().delete()
    apply.assign([Assign(drive.pk, worker.pk, 0)], now)
    assert columns() == fresh, "what SQL writes is what the model would"


def test_the_largest_numbers_and_the_worst_texts_are_stored() -> None:
    drive, worker, now = make_drive(), make_worker(), timezone.now()
    Replica.objects.create(drive=drive, worker=worker)
    report = whole_report(drive, now, gaps=())
    kinds = {name: type(getattr(report, name)) for name in ReplicaFacts.__struct_fields__}
    bad = {name: MAX_COUNT for name, kind in kinds.items() if kind is int}
    bad |= {name: "a\0b\ud800" for name, kind in kinds.items() if kind is str}  # type: ignore[misc]
    found = take(worker, whole_report(drive, now, gaps=(), **bad), now)
    assert found["error"] == "a\ufffdb?"
    assert found["length"] == MAX_COUNT and found["peers"] == found["attempts"] == 2**31 - 1
    drive.refresh_from_db()
    assert drive.title == "a\ufffdb?"
