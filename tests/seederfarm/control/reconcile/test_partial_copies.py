"""Copies with gaps: which of them may go, which prove themselves, which look again."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from farmwire.audit import MAX_BLOCKS, BlockProof
from farmwire.gaps import CoreGaps
from farmwire.message import decode
from farmwire.proofs import prove_block
from farmwire.tasks import REFRESH, Refresh
from hypercore.core.core import Core
from hypercore.core.store import Store, memory_store
from seederfarm.control.reconcile import apply, completing
from seederfarm.control.reconcile.reconcile import reconcile
from seederfarm.control.reports import audits
from seederfarm.placement.model import Release, ReleaseReason
from seederfarm.registry.models import Challenge, Drive, Event, Replica, Worker
from seederfarm.registry.services import last_copies_on
from seederfarm.registry.services import workers as worker_services
from seederfarm.registry.services.drains import drain_progress

from ...registry.factories import make_drive
from ..fakes import FakeBroker, FakeWorker, copy_of, prove_all
from ..reports.test_audits import WRITER, answer, asked, blobs_of, copy_of_core

SECOND = timedelta(seconds=1)
Gap = tuple[int, int]


def gaps(*runs: Gap, length: int = 10) -> list[CoreGaps]:
    return [CoreGaps(length=length, runs=[number for run in runs for number in run])]


def send_report(worker: FakeWorker, key: str, now: datetime, *runs: Gap, phase: str = "complete") -> None:
    """It has all of ten blocks, except for these."""
    lacking = sum(end - start for start, end in runs)
    values: dict[str, Any] = {"gaps": gaps(*runs)} if runs else {}
    if phase == "complete":
        values |= {"unavailable_blocks": lacking, "unavailable_bytes": 100 * lacking}
    assert worker.send_report(now, copy_of(key, phase, now, have=10 - lacking, **values)).applied == 1


def two_copies(now: datetime, **values: Any) -> tuple[Drive, FakeWorker, FakeWorker]:
    anna, bert = (FakeWorker(name, now=now) for name in ("anna", "bert"))
    drive = make_drive(**{"replicas_min": 1, "replicas_max": 1, **values})
    for worker in (anna, bert):
        Replica.objects.create(drive=drive, worker=worker.row, created_at=now - SECOND)
    return drive, anna, bert


def kept(drive: Drive) -> set[str]:
    return set(Replica.objects.filter(drive=drive, desired=True).values_list("worker__name", flat=True))


def test_what_a_report_says_of_gaps_is_kept_until_they_are_filled(farm: FakeBroker, now: datetime) -> None:
    drive, anna, _ = two_copies(now)
    send_report(anna, drive.key, now, (3, 5))
    copy = Replica.objects.get(worker=anna.row)
    assert (copy.phase, copy.unavailable_blocks, copy.unavailable_bytes) == ("complete", 2, 200)
    assert copy.gaps == '[{"length":10,"runs":[3,5],"exact":true,"digest":""}]'
    assert copy.share == 0.8
    send_report(anna, drive.key, now + SECOND)
    copy.refresh_from_db()
    assert (copy.unavailable_blocks, copy.gaps, copy.share) == (0, "", 1.0)


@pytest.mark.parametrize(
    ("annas", "berts", "phases", "left"),
    [
        ([(3, 5)], [(3, 5)], ("complete", "complete"), 1),
        ([(3, 5)], [(7, 8)], ("complete", "complete"), {"anna", "bert"}),
        ([(3, 5)], [(3, 4)], ("complete", "complete"), {"bert"}),
        ([(3, 5)], [], ("complete", "complete"), {"bert"}),
        ([(3, 5)], [(3, 5)], ("looking", "looking"), 1),
        ([(3, 5)], [(7, 8)], ("looking", "looking"), {"anna", "bert"}),
        ([(3, 5)], [(3, 9)], ("looking", "complete"), {"anna", "bert"}),
        ([(3, 5)], [(3, 9)], ("complete", "looking"), {"anna"}),
    ],
)
def test_the_surplus_goes_only_while_others_have_its_blocks(
    farm: FakeBroker, now: datetime, annas: list[Gap], berts: list[Gap], phases: tuple[str, str], left: Any
) -> None:
    drive, anna, bert = two_copies(now)
    send_report(anna, drive.key, now, *annas, phase=phases[0])
    send_report(bert, drive.key, now, *berts, phase=phases[1])
    prove_all(now)
    reconcile(now=now)
    assert kept(drive) == left if isinstance(left, set) else len(kept(drive)) == left


def test_a_drain_waits_until_another_has_every_block_and_not_for_more(
    farm: FakeBroker, now: datetime
) -> None:
    drive, anna, bert = two_copies(now)
    send_report(anna, drive.key, now, (3, 4), phase="looking")
    send_report(bert, drive.key, now, (3, 9), phase="looking")
    worker_services.drain([anna.row], "cli")
    reconcile(now=now)
    assert kept(drive) == {"anna", "bert"}
    assert drain_progress(anna.row.pk).waiting == 1
    send_report(bert, drive.key, now + SECOND, (3, 4), phase="looking")
    assert drain_progress(anna.row.pk).waiting == 0
    reconcile(now=now + SECOND)
    assert kept(drive) == {"bert"}, "97 % on both: nobody has more"


LIES: dict[str, dict[str, Any]] = {
    "nothing of a higher fork": {"length": 0, "blocks": 0, "have_blocks": 0, "fork": 1},
    "a block of a higher fork": {"length": 1, "blocks": 1, "have_blocks": 1, "fork": 1},
    "a lower fork": {"fork": 0},
    "a short core and a second one": {"length": 1, "blocks": 10, "have_blocks": 10},
    "all, with gaps": {"gaps": gaps((1, 10))},
    "all, with gaps that are not exact": {
        "gaps": [CoreGaps(length=10, runs=[1, 10], exact=False, digest="ab")]
    },
    "more than all": {"gaps": gaps((1, 10)), "have_blocks": 1000},
}
"""Claims of a worker that holds one block, which the proofs that it is asked for would not refute."""


@pytest.mark.parametrize("lie", LIES)
def test_the_last_copy_stays_when_another_worker_lies(farm: FakeBroker, now: datetime, lie: str) -> None:
    drive, anna, bert = two_copies(now)
    assert (
        anna.send_report(now, copy_of(drive.key, "complete", now, fork=int(lie == "a lower fork"))).applied
        == 1
    )
    assert bert.send_report(now, copy_of(drive.key, "complete", now, **LIES[lie])).applied == 1
    if "fork" not in lie:  # by the blocks that he does have
        prove_all(now)
    assert last_copies_on(anna.row) == [drive.pk]
    worker_services.drain([anna.row], "cli")
    reconcile(now=now)
    assert "anna" in kept(drive)
    assert drain_progress(anna.row.pk).waiting == 1
    assert not Event.objects.filter(kind="replica.released").exists(), "it is not said either"
    from django.db import transaction

    with transaction.atomic():
        apply.release([Release(drive.pk, anna.row.pk, ReleaseReason.DRAINED)], now)
    assert "anna" in kept(drive)


def test_a_higher_fork_takes_the_place_of_a_lower_one_when_it_was_proven(
    farm: FakeBroker, now: datetime
) -> None:
    drive, anna, bert = two_copies(now)
    send_report(anna, drive.key, now)
    higher = {"fork": 1, "length": 4, "blocks": 4, "have_blocks": 4}
    bert.send_report(now, copy_of(drive.key, "complete", now, **higher))
    worker_services.drain([anna.row], "cli")
    Replica.objects.filter(worker=bert.row).update(last_proven_at=now)
    bert.send_report(now + SECOND, copy_of(drive.key, "complete", now + SECOND, **{**higher, "fork": 2}))
    assert last_copies_on(anna.row) == [drive.pk], "what was proven of one fork says nothing of another"
    Replica.objects.filter(worker=bert.row).update(last_proven_at=now + SECOND)
    bert.send_report(
        now + 2 * SECOND, copy_of(drive.key, "complete", now + 2 * SECOND, **{**higher, "fork": 2})
    )
    assert last_copies_on(anna.row) == []
    assert drain_progress(anna.row.pk).waiting == 0
    reconcile(now=now + 2 * SECOND)
    assert kept(drive) == {"bert"}


def test_gaps_of_other_cores_do_not_say_what_is_asked_for(farm: FakeBroker, now: datetime) -> None:
    drive, anna, _ = two_copies(now)
    anna.send_report(now, copy_of(drive.key, "complete", now, gaps=gaps(length=1)))
    copy = Replica.objects.get(worker=anna.row)
    assert (copy.gaps, copy.have_blocks) == ("", 10)
    audits.challenge_due(now, random.Random(1))
    assert max(Challenge.objects.get().blocks) > 0


def test_what_a_plan_decided_is_not_done_when_the_others_have_less_by_then(
    farm: FakeBroker, now: datetime
) -> None:
    drive, anna, bert = two_copies(now)
    send_report(anna, drive.key, now, (3, 5))
    send_report(bert, drive.key, now, (3, 5))
    send_report(bert, drive.key, now + SECOND, (3, 6))
    from django.db import transaction

    with transaction.atomic():
        apply.release([Release(drive.pk, anna.row.pk, ReleaseReason.SURPLUS)], now)
    assert kept(drive) == {"anna", "bert"}


def test_a_settled_copy_looks_again_when_another_has_what_it_lacks(farm: FakeBroker, now: datetime) -> None:
    drive, anna, bert = two_copies(now, replicas_min=2, replicas_max=2)
    send_report(anna, drive.key, now, (3, 5))
    send_report(bert, drive.key, now, (3, 5))
    farm.take_sent()
    assert completing.ask_to_search_again(now) == 0, "both lack the same"
    send_report(bert, drive.key, now + SECOND, (7, 8))
    assert completing.ask_to_search_again(now + SECOND) == 2, "each has what the other lacks"
    orders = {sent.message["to"]: sent for sent in farm.take_sent() if sent.task == REFRESH}
    assert set(orders) == {anna.node_id, bert.node_id}
    body = decode(orders[anna.node_id].message["body"], Refresh)
    assert body.search_again == [drive.key]
    assert completing.ask_to_search_again(now + 2 * SECOND) == 0, "not again and again"
    send_report(anna, drive.key, now + 3 * SECOND)
    send_report(bert, drive.key, now + 3 * SECOND)
    assert completing.ask_to_search_again(now + timedelta(hours=2)) == 0


def test_a_whole_farm_of_whole_copies_is_asked_nothing(farm: FakeBroker, now: datetime) -> None:
    drive, anna, bert = two_copies(now)
    send_report(anna, drive.key, now)
    send_report(bert, drive.key, now)
    assert completing.ask_to_search_again(now) == 0


# --- proofs


@pytest.fixture
def worker(farm: FakeBroker, now: datetime) -> FakeWorker:
    return FakeWorker("anna", now=now)


@pytest.fixture
def store() -> Store:
    return memory_store()


@pytest.fixture
def core(store: Store) -> Core:
    core = store.create_core(WRITER)
    core.append([f"block {number}".encode() for number in range(20)], WRITER)
    return core


def lacks(replica: Replica, *cores: CoreGaps) -> None:
    from farmwire.gaps import to_text

    Replica.objects.filter(pk=replica.pk).update(gaps=to_text(cores), unavailable_blocks=1)


def test_a_copy_with_gaps_is_asked_for_what_it_has(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime
) -> None:
    replica = copy_of_core(core, worker, now)
    lacks(replica, CoreGaps(length=20, runs=[0, 9, 11, 19]))
    core.clear(0, 9)
    core.clear(11, 19)
    assert audits.challenge_due(now) == 1
    order = asked(farm)
    assert order.blocks == [9, 10, 19]
    assert answer(worker, order, core, now + SECOND) == "proven"
    replica.refresh_from_db()
    assert replica.last_proven_at == now + SECOND


def test_a_drive_with_gaps_in_its_contents_proves_both_cores(
    farm: FakeBroker, worker: FakeWorker, store: Store, core: Core, now: datetime
) -> None:
    blobs = blobs_of(store, core)
    replica = copy_of_core(core, worker, now, blobs=blobs.length, kind="drive")
    lacks(replica, CoreGaps(length=20), CoreGaps(length=30, runs=[0, 28]))
    blobs.clear(0, 28)
    audits.challenge_due(now)
    first = asked(farm)
    assert first.blocks[0] == 0
    assert answer(worker, first, core, now) == "proven"
    second = asked(farm)
    assert second.blocks == [28, 29]
    assert answer(worker, second, blobs, now + SECOND) == "proven"
    replica.refresh_from_db()
    assert replica.last_proven_at == now + SECOND


def test_a_second_core_is_asked_for_whatever_kind_the_drive_is_called(
    farm: FakeBroker, worker: FakeWorker, store: Store, core: Core, now: datetime
) -> None:
    """The kind was reported by some worker. One that has no blobs could not be found out."""
    blobs = blobs_of(store, core)
    replica = copy_of_core(core, worker, now, blobs=blobs.length, kind="core")
    audits.challenge_due(now)
    assert answer(worker, asked(farm), core, now) == "proven"
    second = asked(farm)
    assert second.core == blobs.key.hex()
    missing = [BlockProof(block=block, data="") for block in second.blocks]
    assert answer(worker, second, blobs, now, proofs=missing) == "wrong"
    replica.refresh_from_db()
    assert (replica.last_proven_at, replica.proof_failures) == (None, 1)


def test_blocks_of_a_lower_fork_prove_no_higher_one(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime
) -> None:
    replica = copy_of_core(core, worker, now)
    Replica.objects.update(fork=1)
    audits.challenge_due(now)
    assert answer(worker, asked(farm), core, now) == "wrong"
    replica.refresh_from_db()
    assert (replica.last_proven_at, replica.proof_failures) == (None, 1)


def test_where_gaps_are_known_roughly_a_missing_block_is_no_failure_and_a_lie_is(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime
) -> None:
    replica = copy_of_core(core, worker, now)
    lacks(replica, CoreGaps(length=20, runs=[0, 20], exact=False, digest="ab"))
    core.clear(1, 3)
    rng = random.Random(1)

    def ask() -> Any:
        Replica.objects.update(last_challenged_at=None)
        audits.challenge_due(now, rng)
        return asked(farm)

    order = ask()
    while not {1, 2} & set(order.blocks):
        assert answer(worker, order, core, now) == "proven"
        order = ask()
    assert answer(worker, order, core, now) == "proven"
    order = ask()
    nothing = [BlockProof(block=block, data="") for block in order.blocks]
    assert answer(worker, order, core, now, proofs=nothing) == "wrong"
    order = ask()
    other = [prove_block(core, 19), *nothing[1:]]
    assert answer(worker, order, core, now, proofs=other) == "wrong"


def test_one_block_does_not_prove_a_copy_whose_gaps_are_known_roughly(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime
) -> None:
    """One that says it has all but one block of each part was asked for a single one that is there."""
    replica = copy_of_core(core, worker, now)
    lacks(replica, CoreGaps(length=20, runs=[1, 20], exact=False, digest="ab"))
    Replica.objects.update(have_blocks=19)
    core.clear(1, 20)
    for attempt in range(1, 4):
        Replica.objects.update(last_challenged_at=None)
        audits.challenge_due(now, random.Random(attempt))
        order = asked(farm)
        assert len(order.blocks) == MAX_BLOCKS
        assert answer(worker, order, core, now) == "wrong"
        replica.refresh_from_db()
        assert replica.proof_failures == attempt

    # One that says that it has little is not accused for what it lacks, and has proven nothing by that.
    lacks(replica, CoreGaps(length=20, runs=[0, 20], exact=False, digest="ab"))
    Replica.objects.update(have_blocks=2, proof_failures=0, last_challenged_at=None)
    core.clear(0, 1)
    audits.challenge_due(now, random.Random(4))
    assert answer(worker, asked(farm), core, now) == "proven"
    replica.refresh_from_db()
    assert (replica.last_proven_at, replica.proof_failures) == (None, 0)


@pytest.mark.parametrize("how", ["released", "removing"])
def test_a_copy_that_is_being_released_is_not_accused(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime, how: str
) -> None:
    replica = copy_of_core(core, worker, now)
    audits.challenge_due(now)
    order = asked(farm)
    if how == "released":
        Replica.objects.update(desired=False, released_at=now)
    else:
        Drive.objects.update(state=Drive.State.REMOVING)
    missing = [BlockProof(block=block, data="") for block in order.blocks]
    assert answer(worker, order, core, now + SECOND, proofs=missing) == "wrong"
    Challenge.objects.update(outcome=Challenge.Outcome.OPEN)
    Worker.objects.update(last_seen_at=now + timedelta(hours=1))
    assert audits.expire(now + timedelta(minutes=30)) == 1
    replica.refresh_from_db()
    assert replica.proof_failures == 0
    assert not Event.objects.filter(kind="replica.unproven").exists()
