"""Two that each delete a copy since the other one is there, at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

import pytest
from django.db import connections, transaction

from seederfarm.control.reconcile import apply
from seederfarm.placement.model import Release, ReleaseReason
from seederfarm.registry.models import Drive, Replica, Worker
from seederfarm.registry.services import workers as worker_services

from ...registry.factories import make_drive, make_replica, make_worker
from ..fakes import FakeBroker

Delete = Callable[[Drive, Worker, datetime], object]


def release(drive: Drive, worker: Worker, now: datetime) -> None:
    apply.release([Release(drive.pk, worker.pk, ReleaseReason.SURPLUS)], now)


def retire(drive: Drive, worker: Worker, now: datetime) -> None:
    worker_services.retire([worker], "cli")


@pytest.mark.parametrize("second", [release, retire])
@pytest.mark.parametrize("first", [release, retire])
def test_two_that_count_on_each_others_copy_do_not_both_delete(
    farm: FakeBroker, now: datetime, first: Delete, second: Delete
) -> None:
    drive = make_drive(replicas_min=1, replicas_max=1)
    anna, bert = make_worker("anna"), make_worker("bert")
    for worker in (anna, bert):
        make_replica(drive, worker, length=5, total_blocks=5, have_blocks=5)
    deleted, go_on = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def slowly() -> None:
        with transaction.atomic():
            first(drive, anna, now)
            deleted.set()
            assert go_on.wait(30)

    def meanwhile() -> None:
        with transaction.atomic():
            second(drive, bert, now)

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(work,)) for work in (slowly, meanwhile)]
    threads[0].start()
    assert deleted.wait(30)
    threads[1].start()
    threads[1].join(0.5)
    waited = threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert waited, "the second one waits for the first"
    (left,) = Replica.objects.filter(desired=True)
    assert left.worker == bert
