"""Pages, the command line and the planner call a worker silent at the same moment."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from dashboard.reads import looks, workers
from dashboard.reads.frame import status
from seederfarm.cli.farm.counts import counts
from seederfarm.control.reconcile import liveness
from seederfarm.placement.model import WorkerStatus
from seederfarm.registry.models.worker import SILENT_AFTER

from .farm import ENGINE, a_worker

pytestmark = pytest.mark.django_db


@pytest.mark.slow
@pytest.mark.parametrize(("late", "online"), [(-5, True), (5, False)])
def test_a_worker_is_silent_after_the_same_time_everywhere(late: int, online: bool) -> None:
    now = timezone.now()
    heard = now - timedelta(seconds=SILENT_AFTER * settings.FARM.heartbeat + late)
    assert now - heard < timedelta(seconds=settings.FARM.worker_grace), "not lost yet"
    worker = a_worker("fra", last_seen_at=heard)
    assert worker.is_online(now) is online
    assert counts()["online"] == status().online == int(online)
    assert (looks.of_worker(worker, now).word == "Silent") is not online
    (row,) = liveness.workers()
    expected = WorkerStatus.ACTIVE if online else WorkerStatus.SILENT
    assert liveness.status_of(row, now) is expected


def test_a_worker_that_never_reported_is_not_online() -> None:
    worker = a_worker("new", last_seen_at=None)
    assert not worker.is_online(timezone.now())
    assert counts()["online"] == status().online == 0


def test_the_sentence_of_workers_names_a_lost_one_before_one_without_engine() -> None:
    now = timezone.now()
    a_worker("fra")
    a_worker("hel", engine={**ENGINE, "running": False})
    seen = workers.listed(now, retired=False).sentence
    assert seen.title == "2 of 2 workers are online; hel has no running engine"
    assert seen.text.startswith("Its copies are not served until its engine runs again")
    a_worker("pi", lost_since=now, last_seen_at=now - timedelta(minutes=9))
    seen = workers.listed(now, retired=False).sentence
    assert seen.title == "2 of 3 workers are online; pi is lost, 1 more does not serve"
    assert seen.text.startswith("Copies of a lost worker are made again elsewhere.")
