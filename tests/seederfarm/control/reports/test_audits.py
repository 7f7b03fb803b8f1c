from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta

import pytest

from farmwire.audit import Answer, BlockProof
from farmwire.audit import Challenge as Order
from farmwire.message import decode
from farmwire.proofs import prove_block
from farmwire.tasks import AUDIT, AUDIT_ANSWER
from hypercore.bee import Header
from hypercore.core.core import Core
from hypercore.core.store import Store, memory_store
from hypercore.crypto import KeyPair
from seederfarm.control.reconcile import load
from seederfarm.control.reports import audits
from seederfarm.registry.models import Challenge, Drive, Event, Replica, Worker
from seederfarm.registry.models.worker import SILENT_AFTER
from seederfarm.registry.verdict import verdict_of

from ..fakes import FakeBroker, FakeWorker

SECOND = timedelta(seconds=1)
WRITER = KeyPair.from_seed(b"w" * 32)


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


def blobs_of(store: Store, core: Core) -> Core:
    """The blobs core of the drive whose file list is `core`."""
    assert core.manifest is not None
    manifest = core.manifest.content_manifest(core.key)
    assert manifest is not None
    blobs = store.create_core(WRITER, manifest=manifest)
    blobs.append([b"x" * 1000] * 30, WRITER)
    return blobs


def copy_of_core(
    core: Core, worker: FakeWorker, now: datetime, *, blobs: int = 0, kind: str = "core"
) -> Replica:
    drive = Drive.objects.create(key=core.key.hex(), kind=kind, dirty=False)
    return Replica.objects.create(
        drive=drive,
        worker=worker.row,
        phase="complete",
        length=core.length,
        total_blocks=core.length + blobs,
        have_blocks=core.length + blobs,
        total_bytes=200,
        have_bytes=200,
        created_at=now,
    )


def asked(broker: FakeBroker) -> Order:
    (sent,) = broker.take_sent()
    assert sent.task == AUDIT
    return decode(sent.message["body"], Order)


def answer(worker: FakeWorker, order: Order, stored: Core, now: datetime, **values: object) -> str:
    proofs = [prove_block(stored, block) for block in order.blocks]
    given = {"id": order.id, "core": order.core, "proofs": proofs, **values}
    return audits.ingest_answer(worker.seal(Answer(**given), now, name=AUDIT_ANSWER), now)  # type: ignore[arg-type]


def test_a_copy_that_is_there_is_proven(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime
) -> None:
    replica = copy_of_core(core, worker, now)
    Replica.objects.update(proof_failures=2)
    assert audits.challenge_due(now) == 1
    assert audits.challenge_due(now + SECOND) == 0
    order = asked(farm)
    assert order.core == order.key == core.key.hex()
    assert len(set(order.blocks)) == 3
    assert max(order.blocks) < core.length
    assert answer(worker, order, core, now + SECOND) == "proven"
    replica.refresh_from_db()
    assert (replica.last_proven_at, replica.proof_failures) == (now + SECOND, 0)
    assert Challenge.objects.get().outcome == "proven"
    assert (replica.proven_length, replica.proven_fork) == (20, 0)


def test_a_copy_counts_for_the_version_that_it_proved_not_for_the_one_that_it_reports(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime
) -> None:
    replica = copy_of_core(core, worker, now)
    Replica.objects.update(completed_at=now, have_blocks=25, total_blocks=25, length=25)
    Drive.objects.update(length=25, fork=0)
    order = Order(
        id=str(
            Challenge.objects.create(
                replica=replica, core=core.key.hex(), blocks=[3], sent_at=now, deadline=now + 9 * SECOND
            ).pk
        ),
        key=core.key.hex(), core=core.key.hex(), blocks=[3], deadline=now.timestamp() + 9,
    )  # fmt: skip
    assert answer(worker, order, core, now + SECOND) == "proven"
    replica.refresh_from_db()
    assert (replica.proven, replica.proven_length) == (True, 20)
    drive = Drive.objects.get()
    verdict = verdict_of(drive, now + SECOND)
    assert (verdict.is_safe, verdict.counted, drive.health, drive.counted) == (False, 0, "copying", 0)
    assert "has proven version 20 of 25" in verdict.reason
    core.append([b"more"] * 5, WRITER)
    Replica.objects.update(last_challenged_at=None)
    assert audits.challenge_due(now + 2 * SECOND) == 1
    assert answer(worker, asked(farm), core, now + 3 * SECOND) == "proven"
    drive.refresh_from_db()
    assert (drive.health, drive.counted, drive.proven_at) == ("safe", 1, now + 3 * SECOND)


def test_a_drive_is_proven_when_its_blobs_are_too(
    farm: FakeBroker, worker: FakeWorker, store: Store, core: Core, now: datetime
) -> None:
    blobs = blobs_of(store, core)
    replica = copy_of_core(core, worker, now, blobs=blobs.length, kind="drive")
    audits.challenge_due(now)
    assert answer(worker, asked(farm), core, now) == "proven"
    replica.refresh_from_db()
    assert replica.last_proven_at is None
    second = asked(farm)
    assert (second.key, second.core) == (core.key.hex(), blobs.key.hex())
    assert [(row.fork, row.length) for row in Challenge.objects.all()] == [(0, 20), (0, 20)]
    assert max(second.blocks) < blobs.length
    assert answer(worker, second, blobs, now + SECOND) == "proven"
    replica.refresh_from_db()
    assert replica.last_proven_at == now + SECOND


def test_nothing_else_is_believed(
    farm: FakeBroker, worker: FakeWorker, store: Store, core: Core, now: datetime
) -> None:
    replica = copy_of_core(core, worker, now)
    other = store.create_core(KeyPair.from_seed(b"o" * 32))
    other.append([b"other"] * 20, KeyPair.from_seed(b"o" * 32))

    def asks() -> Order:
        Replica.objects.update(last_challenged_at=None)
        assert audits.challenge_due(now) == 1
        return asked(farm)

    order = asks()
    assert answer(worker, order, other, now) == "wrong"
    order = asks()
    missing = [BlockProof(block=block, data="") for block in order.blocks]
    assert answer(worker, order, core, now, proofs=missing) == "wrong"
    order = asks()
    assert answer(worker, order, core, now, proofs=[]) == "wrong"
    order = asks()
    twice = [prove_block(core, order.blocks[0])] * len(order.blocks)
    assert answer(worker, order, core, now, proofs=twice) == "wrong"
    order = asks()
    assert answer(worker, order, core, now, core=other.key.hex()) == "wrong"
    order = asks()
    good = prove_block(core, order.blocks[0]).data
    spoilt = [BlockProof(block=block, data=good[:-8] + "AAAAAAA=") for block in order.blocks]
    assert answer(worker, order, core, now, proofs=spoilt) == "wrong"
    order = asks()
    assert answer(worker, order, core, now + timedelta(hours=1)) == "late"
    replica.refresh_from_db()
    assert replica.last_proven_at is None
    assert replica.proof_failures == 7
    assert Event.objects.filter(kind="replica.unproven").count() == 7
    state = load.load([replica.drive_id])
    assert state.replicas[replica.drive_id][0].complete is False
    assert Drive.objects.get().dirty


def test_an_answer_counts_once_and_only_from_the_worker_that_was_asked(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime
) -> None:
    bert = FakeWorker("bert", now=now)
    copy_of_core(core, worker, now)
    audits.challenge_due(now)
    order = asked(farm)
    assert f"no challenge {order.id} is open" in answer(bert, order, core, now)
    assert answer(worker, order, core, now) == "proven"
    assert f"no challenge {order.id} is open" in answer(worker, order, core, now)
    assert "no challenge no uuid is open" in answer(
        worker, Order(**{**order_fields(order), "id": "no uuid"}), core, now
    )
    worker.row.refresh_from_db()
    assert worker.row.refused == 2


def order_fields(order: Order) -> dict[str, object]:
    return {
        "id": order.id,
        "key": order.key,
        "core": order.core,
        "blocks": order.blocks,
        "deadline": order.deadline,
    }


def test_an_answer_that_is_too_long_is_refused_and_counted(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_of_core(core, worker, now)
    audits.challenge_due(now)
    order = asked(farm)
    monkeypatch.setattr(audits, "MAX_ANSWER_BYTES", 600)
    assert "at most 600 are accepted" in answer(worker, order, core, now)
    assert Challenge.objects.get().outcome == Challenge.Outcome.OPEN
    worker.row.refresh_from_db()
    assert worker.row.refused == 1


def test_silence_counts_only_for_workers_that_are_heard(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime
) -> None:
    replica = copy_of_core(core, worker, now)
    for heard, failures in ((False, 0), (True, 1)):
        Replica.objects.update(last_challenged_at=None)
        Worker.objects.update(last_seen_at=now)
        assert audits.challenge_due(now) == 1
        later = now + timedelta(hours=1)
        if heard:
            Worker.objects.update(last_seen_at=later)
        assert audits.expire(later) == 1
        assert audits.expire(later) == 0
        replica.refresh_from_db()
        assert replica.proof_failures == failures
    assert set(Challenge.objects.values_list("outcome", flat=True)) == {"late"}


def test_only_copies_that_can_answer_are_challenged(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime
) -> None:
    replica = copy_of_core(core, worker, now)
    for change in ({"phase": "downloading"}, {"length": 0}, {"desired": False, "released_at": now}):
        Replica.objects.update(**change)
        assert audits.challenge_due(now) == 0
        replica.save()
    Worker.objects.update(paused=True)
    assert audits.challenge_due(now) == 0, "its copies are there, and its engine knows of none"
    Worker.objects.update(paused=False, last_seen_at=now - SILENT_AFTER * timedelta(seconds=16))
    assert audits.challenge_due(now) == 0, "it is silent, though not lost yet"
    Worker.objects.update(last_seen_at=now, lost_since=now)
    assert audits.challenge_due(now) == 0
    Worker.objects.update(lost_since=None)
    assert audits.challenge_due(now) == 1


def test_an_answer_for_a_copy_that_was_removed_meanwhile_is_ignored_without_a_warning(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime
) -> None:
    replica = copy_of_core(core, worker, now)
    audits.challenge_due(now)
    order = asked(farm)
    replica.delete()
    assert answer(worker, order, core, now + SECOND).startswith("ignored")
    assert answer(worker, order, core, now + timedelta(hours=1)).startswith("ignored")
    bert = FakeWorker("bert", now=now)
    assert "no challenge" in answer(bert, order, core, now + SECOND), "it was not asked"
    forged = Order(**{**order_fields(order), "id": str(uuid.uuid4())})
    assert "no challenge" in answer(worker, forged, core, now + SECOND)
    late = now + audits.TIME_TO_ANSWER + audits.ANSWERS_COME_FOR + SECOND
    assert "no challenge" in answer(worker, order, core, late), "no answer waits for that long"
    worker.row.refresh_from_db()
    assert worker.row.refused == 2
    assert not Event.objects.filter(kind="replica.unproven").exists()


def test_an_answer_to_a_challenge_that_was_closed_as_late_causes_no_warning(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime
) -> None:
    copy_of_core(core, worker, now)
    audits.challenge_due(now)
    order = asked(farm)
    later = now + timedelta(hours=1)
    assert audits.expire(later) == 1
    assert answer(worker, order, core, later) == "late"
    worker.row.refresh_from_db()
    assert worker.row.refused == 0


def test_a_copy_that_was_removed_and_assigned_again_is_not_accused(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime
) -> None:
    replica = copy_of_core(core, worker, now)
    audits.challenge_due(now)
    order = asked(farm)
    Replica.objects.update(phase="assigned", completed_at=None, created_at=now + SECOND)
    assert answer(worker, order, core, now + 2 * SECOND, proofs=[], error="not kept") == "wrong"
    Challenge.objects.update(outcome="")
    later = now + timedelta(hours=1)
    Worker.objects.update(last_seen_at=later)
    assert audits.expire(later) == 1
    replica.refresh_from_db()
    assert replica.proof_failures == 0
    assert not Event.objects.filter(kind="replica.unproven").exists()


def test_fewer_blocks_are_asked_for_where_they_are_large(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime
) -> None:
    copy_of_core(core, worker, now)
    Replica.objects.update(total_bytes=core.length * (5 << 20))
    audits.challenge_due(now, random.Random(1))
    assert len(asked(farm).blocks) == 1


def test_the_blobs_of_a_compat_drive_are_found_in_its_header(
    farm: FakeBroker, worker: FakeWorker, store: Store, now: datetime
) -> None:
    blobs = store.create_core(KeyPair.from_seed(b"b" * 32), compat=True)
    blobs.append([b"x" * 100] * 5, KeyPair.from_seed(b"b" * 32))
    core = store.create_core(WRITER, compat=True)
    core.append([Header(content_feed=blobs.key).encode(), *[b"entry"] * 9], WRITER)
    replica = copy_of_core(core, worker, now, blobs=blobs.length, kind="drive")
    audits.challenge_due(now)
    first = asked(farm)
    assert first.blocks[0] == 0
    assert answer(worker, first, core, now) == "proven"
    second = asked(farm)
    assert second.core == blobs.key.hex()
    assert answer(worker, second, blobs, now + SECOND) == "proven"
    replica.refresh_from_db()
    assert replica.last_proven_at == now + SECOND


def test_a_question_that_was_lost_does_not_count_when_a_later_one_was_answered(
    farm: FakeBroker, worker: FakeWorker, core: Core, now: datetime
) -> None:
    replica = copy_of_core(core, worker, now)
    audits.challenge_due(now)
    asked(farm)
    Replica.objects.update(last_challenged_at=None)
    audits.challenge_due(now + SECOND)
    assert answer(worker, asked(farm), core, now + SECOND) == "proven"
    later = now + timedelta(hours=1)
    Worker.objects.update(last_seen_at=later)
    assert audits.expire(later) == 1
    replica.refresh_from_db()
    assert replica.proof_failures == 0
