"""What workers report of cores that clients name at their blind peers, true or not."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from farmwire.assignment import AssignmentEntry
from farmwire.blind_cores import MAX_BLIND_CORES, BlindCore
from farmwire.message import Message
from farmwire.report import Report
from seederfarm.control.messaging import assignments
from seederfarm.control.reconcile.liveness import OutageDetector
from seederfarm.control.reconcile.reconcile import reconcile
from seederfarm.control.reports import ingest
from seederfarm.registry.models import AuditEntry, BlindClient, Drive, Replica, Worker
from seederfarm.registry.models import BlindCore as Row
from seederfarm.registry.services import blind_cores as service
from seederfarm.registry.services import drives as drive_services
from seederfarm.registry.services import workers as worker_services
from seederfarm.registry.services.keys import add_keys

from ...registry.factories import key_of, make_drive
from ..fakes import FakeBroker, FakeWorker, copy_of

SECOND = timedelta(seconds=1)
APP, OTHER = key_of("an app"), key_of("another app")
A, B = key_of("a"), key_of("b")


@pytest.fixture
def anna(farm: FakeBroker, now: datetime) -> FakeWorker:
    return FakeWorker("anna", now=now)


@pytest.fixture
def bert(farm: FakeBroker, now: datetime) -> FakeWorker:
    return FakeWorker("bert", now=now)


def send(worker: FakeWorker, now: datetime, *cores: BlindCore) -> ingest.IngestResult:
    return ingest.ingest_report(worker.seal(Report(blind_cores=list(cores)), now), now)


def kept(key: str, client: str = APP, **values: Any) -> BlindCore:
    return BlindCore(key=key, client=client, **values)


def plan(now: datetime) -> None:
    reconcile(everything=True, now=now, outages=OutageDetector(now - timedelta(days=1)))


def copies() -> set[tuple[str, str]]:
    return set(Replica.objects.filter(desired=True).values_list("drive__key", "worker__name"))


def entries_of(worker: FakeWorker) -> dict[str, AssignmentEntry]:
    return {entry.key: entry for entry in assignments.build(worker.row.pk, 1).entries}


def test_a_core_is_a_drive_of_its_client_that_stays_where_it_was_named(
    anna: FakeWorker, bert: FakeWorker, now: datetime
) -> None:
    send(anna, now, kept(A, active_at=now.timestamp()), kept(B, OTHER))
    drive = Drive.objects.get(key=A)
    assert (drive.kind, drive.added_manually, drive.replicas_max) == ("core", False, 1)
    row = Row.objects.get(drive=drive)
    assert (row.worker, row.client.key, row.client.active_at) == (anna.row, APP, now)
    plan(now)
    assert copies() == {(A, "anna"), (B, "anna")}
    assert entries_of(anna)[A] == AssignmentEntry(
        key=A, kind="core", blind_peer=True, seeded=False, announce=False
    )
    assert entries_of(bert) == {}


def test_a_report_that_comes_again_changes_nothing(anna: FakeWorker, now: datetime) -> None:
    send(anna, now, kept(A))
    plan(now)
    before = [list(model.objects.order_by("pk").values()) for model in (Drive, Row, BlindClient, Replica)]
    send(anna, now + SECOND, kept(A), kept(A))
    assert before == [
        list(model.objects.order_by("pk").values()) for model in (Drive, Row, BlindClient, Replica)
    ]


def test_a_core_that_is_kept_no_longer_is_removed_with_its_client(anna: FakeWorker, now: datetime) -> None:
    send(anna, now, kept(A), kept(B))
    plan(now)
    anna.send_report(now, copy_of(A, "complete", now), copy_of(B, "complete", now))
    send(anna, now + SECOND, BlindCore(key=A), BlindCore(key=key_of("never seen")))
    assert entries_of(anna).keys() == {B}
    anna.send_report(now + 2 * SECOND, copy_of(A, "removed", now + 2 * SECOND))
    drive_services.finish_removals()
    assert set(Drive.objects.values_list("key", flat=True)) == {B}
    send(anna, now + 3 * SECOND, BlindCore(key=B))
    assert not Row.objects.exists() and not BlindClient.objects.exists()


def test_a_core_at_two_blind_peers_stays_until_neither_keeps_it(
    anna: FakeWorker, bert: FakeWorker, now: datetime
) -> None:
    send(anna, now, kept(A))
    send(bert, now, kept(A))
    plan(now)
    assert copies() == {(A, "anna"), (A, "bert")}  # more than it wants: both stay
    send(anna, now + SECOND, BlindCore(key=A))
    plan(now + SECOND)
    assert copies() == {(A, "bert")}
    assert Drive.objects.get(key=A).state == Drive.State.ACTIVE
    send(bert, now + SECOND, BlindCore(key=A))
    assert Drive.objects.get(key=A).state == Drive.State.REMOVING


def test_a_drive_of_the_farm_is_not_placed_by_what_a_worker_reports(
    anna: FakeWorker, bert: FakeWorker, now: datetime
) -> None:
    drive = make_drive("mine", required_tags=["vault"], dirty=True)
    Worker.objects.filter(pk=bert.row.pk).update(tags=["vault"])
    send(anna, now, kept(drive.key))
    plan(now)
    assert copies() == {(drive.key, "bert")}
    assert entries_of(bert)[drive.key] == AssignmentEntry(key=drive.key)
    send(anna, now + SECOND, BlindCore(key=drive.key))
    drive.refresh_from_db()
    assert drive.state == Drive.State.ACTIVE


def test_a_worker_seeds_what_a_person_adds_that_its_blind_peer_kept(
    anna: FakeWorker, farm: FakeBroker, now: datetime
) -> None:
    send(anna, now, kept(A))
    plan(now)
    farm.send_assignments(now)
    farm.take_deferred("control.refresh_workers")
    before = anna.row.assignment.version
    add_keys(A, actor="cli")
    assert entries_of(anna)[A] == AssignmentEntry(key=A, kind="core", blind_peer=True)
    anna.row.assignment.refresh_from_db()
    assert anna.row.assignment.version > before
    send(anna, now + SECOND, BlindCore(key=A))
    assert entries_of(anna)[A] == AssignmentEntry(key=A, kind="core")


def test_further_copies_come_from_the_workers_that_have_it_and_are_not_announced(
    anna: FakeWorker, bert: FakeWorker, now: datetime, settings: Any
) -> None:
    settings.FARM = replace(settings.FARM, blind_peer_replicas=2)
    Worker.objects.filter(pk=anna.row.pk).update(engine={"blind_peer": {"key": key_of("blind anna")}})
    Worker.objects.filter(pk=bert.row.pk).update(engine={"blind_peer": None})
    send(anna, now, kept(A, announced=True))
    plan(now)
    assert copies() == {(A, "anna"), (A, "bert")}
    assert entries_of(bert)[A] == AssignmentEntry(
        key=A, kind="core", announce=False, peers=[key_of("blind anna")]
    )
    assert entries_of(anna)[A].peers == []
    add_keys(A, actor="cli")
    assert entries_of(bert)[A] == AssignmentEntry(key=A, kind="core")
    send(anna, now + SECOND, BlindCore(key=A))
    assert copies() == {(A, "anna"), (A, "bert")}


def test_all_copies_go_with_the_core(
    anna: FakeWorker, bert: FakeWorker, now: datetime, settings: Any
) -> None:
    settings.FARM = replace(settings.FARM, blind_peer_replicas=2)
    send(anna, now, kept(A))
    plan(now)
    send(anna, now + SECOND, BlindCore(key=A))
    plan(now + SECOND)
    assert copies() == set() and entries_of(bert) == {}


def test_a_client_has_at_most_its_number_of_cores(
    anna: FakeWorker, bert: FakeWorker, now: datetime, settings: Any
) -> None:
    settings.FARM = replace(settings.FARM, blind_peer_client_cores=3)
    send(anna, now, *(kept(key_of(number)) for number in range(2)))
    send(bert, now, *(kept(key_of(number)) for number in range(5, 9)), kept(A, OTHER))
    assert Row.objects.filter(client__key=APP).count() == 3
    assert Row.objects.filter(client__key=OTHER).count() == 1
    assert BlindClient.objects.get(key=APP).refused_at == now
    assert BlindClient.objects.get(key=OTHER).refused_at is None


def test_a_worker_has_at_most_its_number_of_cores(
    anna: FakeWorker, bert: FakeWorker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_CORES_OF_WORKER", 3)
    for number in range(5):
        send(anna, now + number * SECOND, kept(key_of(number), key_of(f"client {number}")))
    send(bert, now, kept(A))
    assert Row.objects.filter(worker=anna.row).count() == 3
    assert Drive.objects.count() == BlindClient.objects.count() == 4


@pytest.mark.parametrize("state", ["pending", "draining", "retired"])
def test_a_worker_that_gets_no_copies_registers_nothing(farm: FakeBroker, now: datetime, state: str) -> None:
    send(FakeWorker("dora", state=state, now=now), now, kept(A))
    assert not Drive.objects.exists()


def test_what_a_retired_worker_kept_is_removed(anna: FakeWorker, now: datetime) -> None:
    send(anna, now, kept(A))
    plan(now)
    assert worker_services.retire([anna.row], "cli").retired == 1
    drive_services.finish_removals()
    assert not Drive.objects.exists() and not BlindClient.objects.exists()


def test_a_core_changes_its_client(anna: FakeWorker, now: datetime) -> None:
    send(anna, now, kept(A, "00" * 32))
    send(anna, now + SECOND, kept(A, APP))
    assert set(BlindClient.objects.values_list("key", flat=True)) == {APP}


def test_the_audit_log_does_not_grow_with_what_clients_name(
    farm: FakeBroker, now: datetime, request: pytest.FixtureRequest
) -> None:
    worker = FakeWorker(request.node.name[-60:], now=now)  # budgets are those of the process
    for number in range(60):
        send(worker, now + number * SECOND, kept(key_of(number)))
    assert Drive.objects.count() == 60
    assert 0 < AuditEntry.objects.count() < 60


class _Raw(Message, frozen=True, kw_only=True):
    """A report as a stolen worker may write it."""

    blind_cores: Any = ()


@pytest.mark.parametrize(
    "cores",
    [
        [{"key": "zz", "client": APP}],
        [{"key": A, "client": 5}],
        [{"key": A, "client": APP, "active_at": -1}],
        [{"key": key_of(number), "client": APP} for number in range(MAX_BLIND_CORES + 1)],
    ],
    ids=["key", "client", "time", "many"],
)
def test_a_malformed_report_is_refused(anna: FakeWorker, now: datetime, cores: Any) -> None:
    assert ingest.ingest_report(anna.seal(_Raw(blind_cores=cores), now), now).refused.startswith(
        "control.report: malformed"
    )
    assert not Drive.objects.exists()


def test_a_clock_that_is_ahead_is_not_believed(anna: FakeWorker, now: datetime) -> None:
    send(anna, now, kept(A, active_at=1e11))
    assert BlindClient.objects.get().active_at == now
