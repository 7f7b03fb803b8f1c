"""The state of a drive: one function, and the same in SQL."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings

from seederfarm.registry import stored_health
from seederfarm.registry.health import (
    ARRIVING,
    Facts,
    Health,
    counts,
    facts_of,
    health_of,
    is_rewritten,
)
from seederfarm.registry.health_query import health_now
from seederfarm.registry.models import Alert, Drive, Replica, Worker
from seederfarm.registry.models.history import FORK_ALERT
from seederfarm.registry.verdict import verdict_of

from ...support.databases import FarmDatabase
from .factories import key_of, make_drive, make_replica, make_worker

NOW = datetime(2026, 8, 24, 14, 32, tzinfo=UTC)
WELL = Facts("active", 2, True, False, 2, True, True, False)


def minutes(number: float) -> datetime:
    return NOW - timedelta(minutes=number)


@pytest.mark.parametrize(
    ("facts", "health"),
    [
        (WELL, Health.SAFE),
        (WELL._replace(counted=1), Health.AT_RISK),
        (WELL._replace(counted=1, is_arriving=True), Health.COPYING),
        (WELL._replace(counted=0, is_online=False), Health.UNAVAILABLE),
        (WELL._replace(counted=0, is_online=False, is_arriving=True), Health.UNAVAILABLE),
        (
            WELL._replace(counted=0, is_online=False, was_complete=False, is_arriving=True),
            Health.COPYING,
        ),
        (WELL._replace(counted=0, is_online=False, was_complete=False), Health.UNAVAILABLE),
        (WELL._replace(is_known=False, counted=0, is_online=False, is_arriving=True), Health.WAITING),
        (WELL._replace(is_rewritten=True), Health.REWRITTEN),
        (WELL._replace(is_rewritten=True, state="paused"), Health.PAUSED),
        (WELL._replace(counted=0, is_online=False, state="removing"), Health.REMOVING),
    ],
)
def test_the_state_follows_from_the_facts(facts: Facts, health: Health) -> None:
    assert health_of(facts) is health


def any_worker(rng: random.Random, number: int) -> Worker:
    return make_worker(
        f"w{number}",
        state=rng.choice(["active"] * 6 + ["draining", "pending", "retired"]),
        paused=rng.random() < 0.1,
        lost_since=minutes(9) if rng.random() < 0.2 else None,
    )


def any_drive(rng: random.Random, number: int) -> Drive:
    length = rng.choice([None, 0, 5, 7])
    return Drive(
        key=key_of(number),
        state=rng.choice(["active"] * 8 + ["paused", "removing"]),
        replicas_min=rng.randint(1, 3),
        replicas_max=4,
        length=length,
        fork=None if length is None else rng.choice([0, 0, 1]),
    )


def any_copy(rng: random.Random, drive: Drive, worker: Worker) -> Replica:
    desired = rng.random() < 0.9
    completed = rng.choice([None, minutes(30), minutes(60)])
    period = settings.FARM.audit_every / 60
    proven = rng.choice([None, minutes(1), minutes(20), minutes(45), minutes(2 * period + 1)])
    return Replica(
        drive=drive,
        worker=worker,
        desired=desired,
        released_at=None if desired else NOW,
        phase=rng.choice([Replica.Phase.COMPLETE] * 6 + list(Replica.Phase)),
        length=rng.choice([0, 5, 7, 7, 9]),
        fork=rng.choice([0, 0, 1]),
        have_blocks=rng.choice([0, 5, 7]),
        completed_at=completed,
        last_proven_at=proven,
        proven_length=rng.choice([5, 7, 9, 9, 9, 9]),
        proven_fork=rng.choice([0, 1, 1, 1]),
        proof_failures=rng.choice([0] * 6 + [1, 3]),
        grew_at=rng.choice([None, minutes(1), NOW - ARRIVING, minutes(5)]),
        created_at=rng.choice([minutes(1), minutes(90), minutes(90), minutes(90)]),
    )


@pytest.mark.parametrize("seed", range(4))
def test_function_and_query_agree(database: FarmDatabase, seed: int) -> None:
    rng = random.Random(seed)
    workers = [any_worker(rng, number) for number in range(12)]
    drives = Drive.objects.bulk_create(any_drive(rng, number) for number in range(400))
    Replica.objects.bulk_create(
        any_copy(rng, drive, worker)
        for drive in drives
        for worker in rng.sample(workers, rng.choice([0, 1, 2, 3, 4]))
    )
    for drive in rng.sample(drives, 30):
        ended = rng.choice([None, None, NOW])
        Alert.objects.create(
            kind=FORK_ALERT, subject=f"{FORK_ALERT}:{drive.pk}", drive=drive, resolved_at=ended
        )

    found = {row.id: row.now for row in health_now([drive.pk for drive in drives], NOW)}
    rewritten = is_rewritten(drives)
    seen: dict[Health, int] = dict.fromkeys(Health, 0)
    for drive in Drive.objects.prefetch_related("replicas__worker"):
        copies = list(drive.replicas.all())
        facts = facts_of(drive, copies, is_rewritten=drive.pk in rewritten, now=NOW)
        here = found[drive.pk]
        proofs = [copy.last_proven_at for copy in copies if counts(copy, drive, NOW)]
        assert (here.health, here.counted) == (health_of(facts), facts.counted), (facts, copies)
        assert here.proven_at == min(filter(None, proofs), default=None)
        assert (here.arrived_at is not None) == facts.is_arriving
        seen[health_of(facts)] += 1
        verdict = verdict_of(drive, NOW, copies)
        assert (verdict.health, verdict.counted, verdict.proven_at) == (
            here.health,
            here.counted,
            here.proven_at,
        )
        if verdict.health is Health.SAFE:
            assert verdict.is_safe
    assert all(seen.values()), f"not tried: {seen}"
    stored_health.refresh(found, NOW)
    assert stored_health.count_by_health(Drive.objects.all()) == seen
    for health in Health:
        of_one = stored_health.in_health(Drive.objects.all(), health)
        assert {drive.pk for drive in of_one} == {pk for pk, row in found.items() if row.health == health}


@pytest.mark.parametrize(
    "change",
    [
        {"desired": False, "released_at": NOW},
        {"phase": Replica.Phase.DOWNLOADING},
        {"proof_failures": 1},
        {"length": 6},
        {"proven_length": 6},
        {"last_proven_at": None},
        {"last_proven_at": NOW - timedelta(seconds=2 * settings.FARM.audit_every + 1)},
        {"completed_at": NOW},
    ],
)
def test_a_copy_counts_only_while_all_of_it_is_true(database: FarmDatabase, change: dict[str, Any]) -> None:
    drive = make_drive(length=7, fork=0)
    good = {"length": 7, "have_blocks": 7, "completed_at": minutes(30), "last_proven_at": minutes(20)}
    make_replica(drive, make_worker(), **good)
    assert verdict_of(drive, NOW).counted == 1
    make_replica(drive, make_worker(), **{**good, **change})
    assert verdict_of(drive, NOW).counted == 1
    assert health_now([drive.pk], NOW)[0].now.counted == 1
