"""The rules on a farm, in virtual time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from seederfarm.control.alerts import evaluate as module
from seederfarm.control.alerts.evaluate import evaluate
from seederfarm.control.db.locks import try_lock
from seederfarm.control.history.alerts import AlertSpec, raise_alerts
from seederfarm.registry import stored_health
from seederfarm.registry.alert_rules import RULES
from seederfarm.registry.models import (
    Alert,
    AlertWatch,
    BlindClient,
    BlindCore,
    Drive,
    Sample,
    Source,
    Worker,
)
from seederfarm.registry.services.alert_rules import edit_rule, lines

from ...registry.factories import make_drive, make_replica, make_worker
from ..fakes import FakeBroker


@pytest.fixture
def clock(farm: FakeBroker, now: datetime) -> Iterator[Clock]:
    yield Clock(now)


class Clock:
    """Runs the rules every thirty seconds of virtual time or every four minutes, while workers report."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.silent: set[int] = set()

    def run(self, minutes: float = 0.5) -> None:
        every = 30 if minutes < 15 else 240
        for _ in range(max(1, round(minutes * 60 / every))):
            self.now += timedelta(seconds=every)
            Worker.objects.exclude(pk__in=self.silent).update(last_seen_at=self.now)
            stored_health.refresh(Drive.objects.values_list("pk", flat=True), self.now)
            assert evaluate(self.now)

    def drive(self, name: str, **values: Any) -> Drive:
        given = {"length": 10, "replicas_min": 2, "replicas_max": 2, "under_replicated": True}
        return make_drive(name, **{**given, **values})

    def copy(self, drive: Drive, worker: Worker, **values: Any) -> Any:
        before = self.now - timedelta(hours=1)
        given = {
            "length": 10, "have_blocks": 10, "total_blocks": 10, "have_bytes": 1000, "total_bytes": 1000,
            "completed_at": before, "created_at": before, "last_proven_at": self.now + timedelta(days=1),
        }  # fmt: skip
        return make_replica(drive, worker, **{**given, **values})


def kinds() -> list[str]:
    return sorted(Alert.objects.filter(resolved_at=None).values_list("kind", flat=True))


def test_a_drive_below_its_minimum_has_an_alert_after_ten_minutes(clock: Clock) -> None:
    drive = clock.drive("tides")
    clock.copy(drive, make_worker("fra"))
    clock.run(9)
    assert kinds() == []
    clock.run(2)
    alert = Alert.objects.get()
    assert (alert.kind, alert.drive, alert.text) == ("drive.short", drive, "tides has 1 of 2 copies")
    assert [word for word, _ in lines(alert)] == ["What", "Kept", "Farm does", "You can"]
    clock.run(30)
    assert Alert.objects.count() == 1
    clock.copy(drive, make_worker("hel"))
    clock.run(1)
    assert kinds() == ["drive.short"], "it may return"
    clock.run(2)
    assert kinds() == []


def test_a_drive_without_a_complete_copy_online_is_unavailable(clock: Clock) -> None:
    worker = make_worker("fra")
    clock.copy(clock.drive("tides", replicas_min=1), worker)
    clock.run(1)
    Worker.objects.update(paused=True)
    clock.run(6)
    assert kinds() == ["drive.unavailable"]
    assert "1 copy complete, on workers that are away or paused." in Alert.objects.get().kept


def test_a_publisher_that_left_before_a_copy_was_complete_has_its_own_alert(clock: Clock) -> None:
    drive = clock.drive("half", replicas_min=1)
    part = {"phase": "downloading", "have_blocks": 4, "have_bytes": 400, "last_proven_at": None}
    clock.copy(drive, make_worker(), completed_at=None, grew_at=clock.now, **part)
    clock.run(50)
    assert kinds() == []
    clock.run(20)
    assert kinds() == ["drive.upstream_gone"], "and it is not called unavailable, too"
    assert "The fullest copy has 400 B of 1.0 kB" in Alert.objects.get().kept
    edit_rule("drive.upstream_gone", {"enabled": False}, "cli")
    clock.run(6)
    assert kinds() == ["drive.unavailable"]


def test_a_worker_is_silent_then_lost_and_back(clock: Clock) -> None:
    worker, other = make_worker("pi"), make_worker("fra")
    alone, safe = clock.drive("alone", replicas_min=1), clock.drive("both", replicas_min=1)
    clock.copy(alone, worker)
    clock.copy(safe, worker)
    clock.copy(safe, other)
    clock.run(1)
    clock.silent.add(worker.pk)
    clock.run(4)
    assert kinds() == ["worker.silent"]
    Worker.objects.filter(pk=worker.pk).update(lost_since=clock.now)
    clock.run(3)
    assert kinds() == ["worker.lost"]
    alert = Alert.objects.get(kind="worker.lost")
    assert "It holds 2 copies." in alert.what
    assert "1 of its 2 drives have complete copies elsewhere, 1 have none" in alert.kept
    Worker.objects.filter(pk=worker.pk).update(lost_since=None)
    clock.silent.clear()
    clock.run()
    assert kinds() == []


def test_disks_that_are_full_or_will_be(clock: Clock) -> None:
    full = make_worker("nyc", used_bytes=99 * 10**9, free_bytes=10**9)
    growing = make_worker("sgp", used_bytes=80 * 10**9, free_bytes=20 * 10**9)
    steady = make_worker("fra", used_bytes=80 * 10**9, free_bytes=20 * 10**9)
    for worker, before in ((full, 90), (growing, 66.5), (steady, 80)):
        for hour in range(24):
            at = clock.now - timedelta(days=7) + timedelta(hours=hour, minutes=3)
            Sample.objects.create(
                scope="worker", subject=worker.pk, metric="stored_bytes", span=900, at=at,
                count=15, total=15 * before * 1e9,
            )  # fmt: skip
    clock.run(6)
    assert kinds() == ["worker.disk_full"]
    clock.run(60)
    assert kinds() == ["worker.disk_forecast", "worker.disk_full"]
    soon = Alert.objects.get(kind="worker.disk_forecast")
    assert soon.worker == growing
    assert soon.text == "sgp will be full in about 10 days"
    edit_rule("worker.disk_forecast", {"threshold": 5, "closes_after": 0}, "cli")
    clock.run()
    assert kinds() == ["worker.disk_full"]


def test_sources_that_fail_three_times(clock: Clock) -> None:
    source = Source.objects.create(name="lists", failures=2, last_error="answered 503", listed=412)
    clock.run()
    assert kinds() == []
    Source.objects.update(failures=3)
    clock.run()
    alert = Alert.objects.get()
    assert alert.what == "3 readings in a row failed: answered 503"
    assert alert.kept == "Its 412 keys stay as they are."
    Source.objects.update(failures=4)
    clock.run()
    alert.refresh_from_db()
    assert alert.what.startswith("4 readings"), "the words follow"
    assert alert.count == 1, "a run of the rules is no news"
    source.delete()
    clock.run()
    assert kinds() == []


def test_an_app_whose_cores_have_no_room(clock: Clock, settings: Any) -> None:
    settings.FARM = replace(settings.FARM, blind_peer_client_cores=1)
    app = BlindClient.objects.create(key="ab" * 32, refused_at=clock.now)
    BlindClient.objects.create(key="cd" * 32, refused_at=clock.now - timedelta(hours=1))
    row = BlindCore.objects.create(drive=clock.drive("notes"), worker=make_worker("pi"), client=app)
    clock.run()
    alert = Alert.objects.get(kind="client.refused")
    assert alert.text == f"The app {app} has more cores than there is room for"
    assert alert.what == "1 core of it is registered, and no app may have more than 1."
    assert "SEEDERFARM_BLIND_PEER_CLIENT_CORES" in alert.hint
    row.delete()
    clock.run()
    alert.refresh_from_db()
    assert alert.what.startswith("0 cores of it are registered. A worker's blind peer has no room")
    assert "`mirrors`" in alert.hint
    clock.run(120)
    assert "client.refused" not in kinds()


def test_a_wrong_proof(clock: Clock) -> None:
    drive = clock.drive("notes")
    wrong = clock.copy(drive, make_worker("pi"), proof_failures=2)
    clock.copy(drive, make_worker("fra"))
    clock.run()
    alert = Alert.objects.get(kind="copy.proof")
    assert alert.text == "notes: wrong proof from pi"
    assert "two challenges" in alert.what
    assert "1 copy of others is complete, 2 are wanted" in alert.kept
    type(wrong).objects.filter(pk=wrong.pk).update(proof_failures=0)
    clock.run()
    assert "copy.proof" not in kinds()


@pytest.mark.slow
def test_what_was_watched_before_an_outage_of_control_counts_from_anew(clock: Clock) -> None:
    clock.copy(clock.drive("tides"), make_worker())
    clock.run(5)
    clock.now += timedelta(hours=1)
    clock.run(6)
    assert kinds() == []
    clock.run(5)
    assert kinds() == ["drive.short"]


def test_alerts_without_an_end_of_their_own_end_when_nothing_more_comes(clock: Clock) -> None:
    spec = AlertSpec(kind="broker.refused", subject="broker.refused:x", text="refused")
    raise_alerts([spec], clock.now)
    clock.run(1)
    assert kinds() == ["broker.refused"]
    clock.now += timedelta(hours=7)
    clock.run()
    assert kinds() == []


def test_rules_that_are_switched_off_open_nothing_and_close_what_is_open(clock: Clock) -> None:
    Source.objects.create(name="lists", failures=3)
    clock.run()
    assert kinds() == ["source.failing"]
    for kind in ("source.failing", "worker.lost"):
        edit_rule(kind, {"enabled": False}, "cli")
    clock.run()
    raise_alerts([AlertSpec(kind="worker.lost", subject="worker.lost:1", text="x")], clock.now)
    assert kinds() == []


@pytest.mark.slow
def test_a_storm_has_a_bounded_number_of_alerts_and_one_that_counts_the_rest(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ALERTS", 5)
    worker = make_worker()
    for number in range(12):
        clock.copy(clock.drive(f"d{number}"), worker)
    clock.run(12)
    assert Alert.objects.filter(resolved_at=None).count() == 6
    assert Alert.objects.get(subject="drive.short:more").text == "Copies below the minimum: 7 more"
    chosen = set(Alert.objects.values_list("subject", flat=True))
    for number in range(12, 20):
        clock.copy(clock.drive(f"d{number}"), worker)
    clock.run(20)
    assert set(Alert.objects.values_list("subject", flat=True)) == chosen, "and they do not change"
    assert "15 more" in Alert.objects.get(subject="drive.short:more").text


def test_two_beats_open_each_alert_once(clock: Clock) -> None:
    Source.objects.create(name="lists", failures=3)
    barrier = threading.Barrier(3)
    failures: list[BaseException] = []

    def beat() -> None:
        try:
            barrier.wait(20)
            for _ in range(5):
                evaluate(clock.now)
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=beat) for _ in range(2)]
    for thread in threads:
        thread.start()
    barrier.wait(20)
    for thread in threads:
        thread.join(60)
    assert not failures
    assert Alert.objects.count() == 1
    with try_lock("alerts") as alone:
        assert alone
        if connection.vendor == "sqlite":
            assert not evaluate(clock.now), "another one is at it"


def test_the_number_of_queries_does_not_grow_with_the_farm(clock: Clock) -> None:
    def queries() -> int:
        clock.run(11)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            clock.run()
        return len(captured)

    worker = make_worker()
    clock.copy(clock.drive("first"), worker, proof_failures=1)
    few = queries()
    for number in range(20):
        clock.copy(clock.drive(f"d{number}"), make_worker(), proof_failures=1)
    assert queries() <= few


def test_watched_conditions_are_forgotten_when_they_are_over(clock: Clock) -> None:
    drive = clock.drive("tides")
    clock.copy(drive, make_worker())
    clock.run(2)
    assert AlertWatch.objects.exclude(subject="*").count() == 1
    Drive.objects.update(state="paused")
    clock.run()
    assert AlertWatch.objects.exclude(subject="*").count() == 0


@pytest.mark.parametrize("kind", RULES)
def test_every_rule_says_what_the_farm_does_and_what_a_person_can_do(kind: str) -> None:
    rule = RULES[kind]
    for text in (rule.kept, rule.does, rule.hint):
        assert text.endswith(".") and len(text) <= 500
    assert rule.evaluates or rule.threshold is None
    assert rule.title and rule.condition
