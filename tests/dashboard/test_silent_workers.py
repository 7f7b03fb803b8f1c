"""Pages, the command line and the planner call a worker silent at the same moment."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from dashboard.reads import looks
from dashboard.reads.frame import status
from seederfarm.cli.farm.counts import counts
from seederfarm.control.reconcile import liveness
from seederfarm.placement.model import WorkerStatus
from seederfarm.registry.models.worker import SILENT_AFTER

from .farm import a_worker

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
