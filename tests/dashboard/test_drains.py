"""Drains in pages, and why a drive finds no worker."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from seederfarm.registry.models import Alert, Drive

from .farm import ENGINE, a_copy, a_drive, a_worker, text_of

pytestmark = pytest.mark.usefixtures("database")


def test_lists_say_how_far_a_drain_is_and_how_long_it_takes(viewer: Client) -> None:
    leaving = a_worker("leaving", state="draining")
    a_worker("staying", engine={**ENGINE, "down_per_second": 1e6})
    for number in range(3):
        a_copy(a_drive(f"drive {number}", byte_length=1_200_000_000), leaving)
    for address in ("/", "/workers/", f"/workers/{leaving.node_id}/"):
        text = text_of(viewer.get(address))
        assert "about 60 min" in text or "about 1 h" in text, address
        assert "1.0\u00a0MB/s" in text or "1.0 MB/s" in text
    assert "3 of 3 copies to go" in text_of(viewer.get("/workers/"))


def test_a_drain_that_is_done_or_stands_still_says_so(viewer: Client) -> None:
    leaving, staying = a_worker("leaving", state="draining"), a_worker("staying")
    drive = a_drive("one")
    a_copy(drive, leaving)
    a_copy(drive, staying)
    assert "all copies are elsewhere, too" in text_of(viewer.get("/workers/"))


def test_many_drains_cost_no_more_than_some(viewer: Client) -> None:
    for number in range(12):
        a_copy(a_drive(f"drive {number}"), a_worker(f"leaving {number}", state="draining"))
    with CaptureQueriesContext(connection) as queries:
        viewer.get("/workers/")
    assert sum("AS best" in query["sql"] for query in queries) <= 5


def test_a_drive_says_why_its_copies_find_no_worker(viewer: Client) -> None:
    drive = a_drive("Tide <b>tables</b>", replicas_min=2, replicas_max=2)
    a_copy(drive, a_worker("fra"))
    alert = Alert.objects.create(
        kind="drive.unplaced",
        subject=f"drive.unplaced:{drive.pk}",
        text=f"{drive} needs 1 more copy, and finds 1 worker with a copy already",
        drive=drive,
    )
    page = viewer.get(f"/drives/{drive.z32}/")
    assert "The drive needs 1 more copy, and finds 1 worker with a copy already" in text_of(page)
    assert "<b>tables</b>" not in page.text
    alert.resolved_at = timezone.now()
    alert.save()
    assert "No worker is found" not in text_of(viewer.get(f"/drives/{drive.z32}/"))
    assert Drive.objects.count() == 1
