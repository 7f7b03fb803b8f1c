"""What a worker reports of the use of drives, true or not."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from farmwire.message import MAX_COUNT, Message
from farmwire.report import Report
from farmwire.tasks import WATCH
from farmwire.traffic import MAX_PEERS, MAX_WATCHED, PeerList, PeerTraffic, Served
from seederfarm.control.history import samples
from seederfarm.control.messaging import watching as sending
from seederfarm.control.reports import ingest, traffic
from seederfarm.registry.models import CopyPeers, Drive, Replica, Sample
from seederfarm.registry.services import watching

from ...registry.factories import key_of
from ..fakes import FakeBroker, FakeWorker, copy_of

SECOND = timedelta(seconds=1)
HERE, ELSEWHERE = key_of("here"), key_of("elsewhere")


@pytest.fixture
def worker(farm: FakeBroker, now: datetime) -> FakeWorker:
    worker = FakeWorker("anna", now=now)
    for key in (HERE, ELSEWHERE):
        Drive.objects.create(key=key, dirty=False)
    Replica.objects.create(drive=Drive.objects.get(key=HERE), worker=worker.row, created_at=now)
    return worker


class _Raw(Message, frozen=True, kw_only=True):
    """A report as a stolen worker may write it."""

    served: Any = ()
    peers: Any = ()


def send(worker: FakeWorker, now: datetime, **values: Any) -> ingest.IngestResult:
    return ingest.ingest_report(worker.seal(Report(**values), now), now)


def peer(number: int, **values: Any) -> PeerTraffic:
    given = {"way": "direct", "bytes_in": 1, "bytes_out": 2, "down": 0.0, "up": 1.0, "seconds": 9.0}
    return PeerTraffic(**{"id": f"{number:064x}", **given, **values})


def test_bytes_served_add_up_by_drive_and_day(farm: FakeBroker, worker: FakeWorker, now: datetime) -> None:
    for at in (now, now + SECOND, now + timedelta(days=1)):
        send(worker, at, served=[Served(key=HERE, bytes=100)])
    drive = Drive.objects.get(key=HERE)
    assert (drive.served_bytes, drive.served_at) == (300, now + timedelta(days=1))
    rows = Sample.objects.filter(scope="drive", subject=drive.pk).order_by("at").values_list("total", "span")
    assert list(rows) == [(200.0, 86400), (100.0, 86400)]
    assert samples.roll_up(now + timedelta(days=31)) == 1
    assert samples.roll_up(now + timedelta(days=40)) == 1


def test_drives_that_the_worker_does_not_hold_are_left_out(
    farm: FakeBroker, worker: FakeWorker, now: datetime
) -> None:
    made_up = [Served(key=key_of(number), bytes=5) for number in range(400)]
    assert send(worker, now, served=[Served(key=ELSEWHERE, bytes=5), *made_up]).refused == ""
    assert Drive.objects.get(key=ELSEWHERE).served_bytes == 0
    assert Drive.objects.count() == 2
    assert not Sample.objects.filter(scope="drive").exists()


def test_more_than_a_machine_can_send_is_not_believed(
    farm: FakeBroker, worker: FakeWorker, now: datetime
) -> None:
    for number in range(3):
        send(worker, now + number * SECOND, served=[Served(key=HERE, bytes=MAX_COUNT)] * 500)
    maximum = int(traffic.MAX_RATE * traffic.MIN_SPAN)
    assert Drive.objects.get(key=HERE).served_bytes == 3 * maximum
    Drive.objects.update(served_bytes=MAX_COUNT - 1)
    send(worker, now + 4 * SECOND, served=[Served(key=HERE, bytes=50)])
    assert Drive.objects.get(key=HERE).served_bytes == MAX_COUNT
    assert Sample.objects.filter(scope="drive").count() == 1


@pytest.mark.parametrize(
    "part",
    [
        {"served": [{"key": HERE, "bytes": -1}]},
        {"served": [{"key": HERE, "bytes": 1.5}]},
        {"served": [{"key": HERE, "bytes": 10**30}]},
        {"served": [{"key": "x" * 10**6, "bytes": 1}]},
        {"served": [{"key": HERE, "bytes": 1}] * 501},
        {"peers": [{"key": HERE, "total": 1, "peers": [{"id": "ab" * 32}] * 21}]},
        {"peers": [{"key": HERE, "total": -1, "peers": []}]},
        {"peers": [{"key": HERE, "total": 0, "peers": []}] * 21},
        {"peers": [{"key": HERE, "total": 1, "peers": [{"id": "ab" * 32, "way": "x" * 10**5}]}]},
    ],
    ids=str,
)
def test_senseless_numbers_and_too_many_rows_are_refused_whole(
    farm: FakeBroker, worker: FakeWorker, now: datetime, part: dict[str, Any]
) -> None:
    sealed = worker.seal(_Raw(**part), now)
    assert ingest.ingest_report(sealed, now).refused
    assert Drive.objects.get(key=HERE).served_bytes == 0
    assert not CopyPeers.objects.exists()


def test_peers_are_kept_only_of_copies_of_watched_drives(
    farm: FakeBroker, worker: FakeWorker, now: datetime
) -> None:
    lists = [PeerList(key=key, total=10**6, peers=[peer(1)]) for key in (HERE, ELSEWHERE, key_of("no"))]
    send(worker, now, peers=lists)
    assert not CopyPeers.objects.exists(), "no page is open"
    watching.watch([HERE, ELSEWHERE], now)
    send(worker, now + SECOND, peers=lists)
    kept = CopyPeers.objects.get()
    assert (kept.replica.drive.key, kept.total, len(kept.peers)) == (HERE, 10**6, 1)
    for number in range(5):
        send(worker, now + (2 + number) * SECOND, peers=[PeerList(key=HERE, total=0, peers=[])])
    assert (CopyPeers.objects.get().total, CopyPeers.objects.get().peers) == (0, [])
    send(worker, now + watching.WATCH_TIME + SECOND, peers=lists)
    assert CopyPeers.objects.get().peers == [], "the look has ended"


def test_a_total_below_the_list_is_corrected(farm: FakeBroker, worker: FakeWorker, now: datetime) -> None:
    watching.watch([HERE], now)
    send(worker, now, peers=[PeerList(key=HERE, total=0, peers=[peer(n) for n in range(MAX_PEERS)])])
    assert CopyPeers.objects.get().total == MAX_PEERS


class TestWatching:
    def test_workers_with_a_copy_get_the_order_once_in_a_while(
        self, farm: FakeBroker, worker: FakeWorker, now: datetime
    ) -> None:
        bert = FakeWorker("bert", now=now)
        watching.watch([HERE], now)
        watching.watch([HERE], now + SECOND)
        assert len(farm.take_deferred("control.watch")) == 1
        assert sending.send_watch(now + SECOND) == 1
        (sent,) = farm.take_sent()
        assert (sent.task, sent.queue) == (WATCH, worker.row.queue)
        assert sent.message["body"] == {"keys": [HERE], "seconds": 59.0}
        watching.watch([HERE], now + timedelta(seconds=40))
        assert len(farm.take_deferred("control.watch")) == 1
        assert sending.send_watch(now + timedelta(hours=1)) == 0
        assert bert.row.queue != sent.queue

    def test_a_lost_worker_gets_no_order(self, farm: FakeBroker, worker: FakeWorker, now: datetime) -> None:
        worker.row.lost_since = now
        worker.row.save()
        watching.watch([HERE], now)
        assert sending.send_watch(now) == 0

    def test_no_more_drives_than_the_bound_are_watched(
        self, farm: FakeBroker, worker: FakeWorker, now: datetime
    ) -> None:
        keys = [key_of(f"many {number}") for number in range(MAX_WATCHED + 10)]
        Drive.objects.bulk_create([Drive(key=key, dirty=False) for key in keys])
        for key in keys:
            watching.watch([key], now)
        watching.watch(keys, now + SECOND)
        assert Drive.objects.filter(watched_until__gt=now).count() == MAX_WATCHED
        later = now + watching.WATCH_TIME + SECOND
        watching.watch(keys[-5:], later)
        assert Drive.objects.filter(watched_until__gt=later).count() == 5

    def test_old_lists_are_deleted(self, farm: FakeBroker, worker: FakeWorker, now: datetime) -> None:
        CopyPeers.objects.create(replica=Replica.objects.get(), at=now, total=1)
        sending.send_watch(now + sending.KEPT)
        assert CopyPeers.objects.exists()
        sending.send_watch(now + sending.KEPT + SECOND)
        assert not CopyPeers.objects.exists()


class TestFiles:
    def report(self, worker: FakeWorker, at: datetime, have: int = 10, **values: Any) -> Drive:
        given = {"kind": "drive", "files_version": 10, **values}
        worker.send_report(at, copy_of(HERE, "complete", at, have=have, **given))
        return Drive.objects.get(key=HERE)

    def test_the_first_count_of_a_version_stays(
        self, farm: FakeBroker, worker: FakeWorker, now: datetime
    ) -> None:
        drive = self.report(worker, now + SECOND, files=3, file_bytes=900)
        assert (drive.files, drive.file_bytes, drive.files_version) == (3, 900, 10)
        drive = self.report(worker, now + 2 * SECOND, files=MAX_COUNT, file_bytes=0)
        assert (drive.files, drive.file_bytes) == (3, 900)
        longer = {"length": 12, "blocks": 12, "have_blocks": 12}
        drive = self.report(worker, now + 3 * SECOND, files=3, file_bytes=900, **longer)
        assert (drive.length, drive.files, drive.files_version) == (12, 3, 10), "not counted again yet"
        drive = self.report(worker, now + 4 * SECOND, files=4, files_version=12, **longer)
        assert (drive.files, drive.file_bytes, drive.files_version) == (4, None, 12)
        drive = self.report(worker, now + 5 * SECOND, files=9, files_version=13, **longer)
        assert drive.files == 4, "a version that no copy has"

    def test_a_rewritten_drive_has_no_count_until_it_is_counted(
        self, farm: FakeBroker, worker: FakeWorker, now: datetime
    ) -> None:
        self.report(worker, now + SECOND, files=3, file_bytes=900)
        drive = self.report(worker, now + 2 * SECOND, fork=1)
        assert (drive.fork, drive.files, drive.files_version) == (1, None, 0)
