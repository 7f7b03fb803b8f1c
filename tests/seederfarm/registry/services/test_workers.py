from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from hypercore.keys import encode_key
from seederfarm.registry import services
from seederfarm.registry.models import ApiToken, AuditEntry, Drive, EnrolmentToken, Event, Replica, Worker
from seederfarm.registry.models.fields import clean_clients

from ..factories import key_of, make_drive, make_replica, make_user, make_worker, store_health

pytestmark = pytest.mark.usefixtures("database")

NODE = encode_key(bytes.fromhex(key_of("node")))


def state_of(worker: Worker) -> str:
    worker.refresh_from_db()
    return worker.state


def test_a_drain_has_the_drives_of_the_worker_planned_again() -> None:
    worker = make_worker()
    drive, other = make_drive(), make_drive()
    make_replica(drive, worker)
    assert services.drain([worker], "cli") == 1
    assert services.drain([worker], "cli") == 0
    assert state_of(worker) == "draining"
    assert worker.draining_since is not None
    assert list(Drive.objects.filter(dirty=True)) == [drive]
    assert other not in Drive.objects.filter(dirty=True)
    assert Event.objects.get().kind == "worker.draining"
    assert services.activate([worker], "cli") == 1
    assert state_of(worker) == "active"
    assert worker.draining_since is None


@pytest.mark.parametrize(
    ("values", "reported"),
    [
        ({"blind_clients": "friends"}, "write anyone, none or public keys"),
        ({"blind_trusted": "anyone"}, "hex digits"),
        ({"blind_trusted": ",".join(key_of(str(number)) for number in range(101))}, "101 keys are too many"),
        ({"blind_max_cores": 0}, "greater than or equal to 1"),
        ({"blind_max_cores": 1 << 70}, "less than or equal to"),
    ],
)
def test_what_apps_may_is_refused_with_what_is_wrong_and_then_unchanged(
    values: dict[str, object], reported: str
) -> None:
    worker = make_worker()
    with pytest.raises(ValidationError, match=reported):
        services.set_blind_peer(worker, {"blind_max_bytes": 5, **values}, "cli")
    worker.refresh_from_db()
    assert worker.blind_max_bytes is None and not AuditEntry.objects.exists()


def test_what_apps_may_is_set_once_and_recorded() -> None:
    worker, key = make_worker(), key_of("app")
    values = {"blind_clients": f"{key} {encode_key(bytes.fromhex(key))}", "blind_max_bytes": 5}
    assert sorted(services.set_blind_peer(worker, values, "cli")) == ["blind_clients", "blind_max_bytes"]
    assert services.set_blind_peer(worker, values, "cli") == []
    worker.refresh_from_db()
    assert (clean_clients(worker.blind_clients), worker.blind_max_bytes) == ([key], 5)
    assert AuditEntry.objects.get().action == "worker.blind_peer"


def test_a_worker_that_drives_need_for_their_minimum_is_retired_only_when_that_is_confirmed() -> None:
    anna, bert, carl = (make_worker(name) for name in ("anna", "bert", "carl"))
    away = make_worker(lost_since=timezone.now())
    needed, enough, paused = (make_drive(replicas_min=low, replicas_max=2) for low in (2, 1, 2))
    Drive.objects.filter(pk=paused.pk).update(state="paused")
    for drive in (needed, enough, paused):
        for worker in (anna, bert, away):
            make_replica(drive, worker, length=5, total_blocks=5, have_blocks=5)
    long_ago = timezone.now() - timedelta(days=30)
    stale = {"completed_at": long_ago, "last_proven_at": long_ago}
    third = make_replica(needed, carl, length=5, total_blocks=5, have_blocks=5, **stale)
    assert services.retirement_of(carl).why == "", "a proof that is too old does not count"
    third.delete()
    found = services.retirement_of(anna)
    assert (found.drives, found.below) == (0, 1)
    assert found.why == "1 drive has fewer copies than the minimum without it: drain it first"
    assert services.retirement_of(away).why == "", "its copies do not count as it is"
    assert services.retire([anna], "cli") == (0, [found])
    assert state_of(anna) == "active"
    assert services.retire([anna], "cli", confirmed=True) == (1, [])
    for drive in (needed, enough, paused):
        store_health(drive)
    found = services.retirement_of(bert)
    assert (found.drives, found.below, found.named) == (3, 2, f"{needed}, {enough}, {paused}")
    assert services.retire([bert], "cli", confirmed=True).retired == 0, "that takes more than a yes"


def test_a_retired_worker_is_not_drained() -> None:
    worker = make_worker(state=Worker.State.RETIRED)
    assert services.drain([worker], "cli") == 0
    assert state_of(worker) == "retired"


def test_a_worker_with_the_last_copy_is_not_retired() -> None:
    keeper, other, lost = make_worker(), make_worker(), make_worker(lost_since=timezone.now())
    alone, shared = make_drive(), make_drive()
    whole = {"length": 5, "total_blocks": 5, "have_blocks": 5}
    make_replica(alone, keeper, **whole)
    make_replica(alone, lost, **whole)
    make_replica(alone, other, phase=Replica.Phase.DOWNLOADING)
    make_replica(shared, keeper, **whole)
    make_replica(shared, other, **whole)
    assert services.retire([other], "cli").retired == 1, "what it has is complete elsewhere"
    assert not Replica.objects.filter(worker=other).exists()
    result = services.retire([keeper], "cli")
    assert (result.retired, result.guarded[0].drives) == (0, 2)
    assert "drain it first" in result.guarded[0].why
    assert state_of(keeper) == "active"
    assert services.retire([keeper], "cli", force=True).retired == 1
    assert set(Drive.objects.filter(dirty=True)) == {alone, shared}


def test_only_retired_workers_without_copies_are_forgotten() -> None:
    active, retired = make_worker(), make_worker()
    services.retire([retired], "cli")
    assert services.delete_retired([active, retired], "cli") == 1
    assert list(Worker.objects.all()) == [active]


def test_an_enrolment_lets_one_worker_in_once() -> None:
    issued = services.issue_enrolment(name="pi", zone="home", tags=["ssd"], actor=make_user())
    assert issued.secret not in str(EnrolmentToken.objects.values()), "only its hash is kept"
    enrolled = services.use_enrolment(issued.secret, node_id=NODE, name="raspberrypi", zone="elsewhere")
    worker = enrolled.worker if enrolled is not None else None
    assert worker is not None
    assert (worker.name, worker.zone, worker.tags, worker.state) == ("pi", "home", ["ssd"], "active")
    assert services.use_enrolment(issued.secret, node_id=NODE, name="x") == enrolled, (
        "the answer was lost: it asks again"
    )
    thief = encode_key(bytes.fromhex(key_of("thief")))
    assert services.use_enrolment(issued.secret, node_id=thief, name="x") is None
    assert services.use_enrolment("guessed", node_id=thief, name="x") is None
    assert Worker.objects.count() == 1


def test_an_enrolment_that_needs_approval_waits_and_names_are_made_unique() -> None:
    make_worker("pi")
    issued = services.issue_enrolment(approved=False, actor="cli")
    enrolled = services.use_enrolment(issued.secret, node_id=NODE, name="pi", tags=["ok", "not ok!"])
    worker = enrolled.worker if enrolled is not None else None
    assert worker is not None
    assert (worker.name, worker.state, worker.tags) == ("pi-2", "pending", ["ok"])
    assert services.activate([worker], "cli") == 1


def test_enrolments_end() -> None:
    late = services.issue_enrolment(life=timedelta(seconds=-1), actor="cli")
    assert services.use_enrolment(late.secret, node_id=NODE, name="x") is None
    revoked = services.issue_enrolment(actor="cli")
    assert services.revoke_enrolment(revoked.token, "cli")
    assert not services.revoke_enrolment(revoked.token, "cli")
    assert services.use_enrolment(revoked.secret, node_id=NODE, name="x") is None


def test_an_api_token_is_found_by_its_secret_until_it_is_revoked() -> None:
    user = make_user()
    issued = services.issue_api_token(user, "grafana", scopes=["read"], actor=user)
    assert issued.secret not in str(ApiToken.objects.values())
    found = services.find_api_token(issued.secret)
    assert found == issued.token
    assert services.find_api_token(issued.secret + "x") is None
    found.refresh_from_db()
    assert found.last_used_at is not None
    user.is_active = False
    user.save()
    assert services.find_api_token(issued.secret) is None
    user.is_active = True
    user.save()
    assert services.revoke_api_token(issued.token, user)
    assert services.find_api_token(issued.secret) is None
    assert AuditEntry.objects.filter(action__startswith="token.").count() == 2


@pytest.mark.parametrize(
    "values",
    [{"node_id": "short"}, {"node_id": NODE.upper()}, {"weight": -1}, {"state": "asleep"}, {"name": ""}],
)
def test_the_database_refuses_workers_that_make_no_sense(values: dict[str, object]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Worker.objects.create(**{"node_id": NODE, "name": "x", **values})
