"""Copies of real cores, and what their workers answer to challenges."""

from __future__ import annotations

from datetime import datetime

from farmwire.audit import Answer
from farmwire.audit import Challenge as Order
from farmwire.message import decode
from farmwire.proofs import prove_block
from farmwire.tasks import AUDIT, AUDIT_ANSWER
from hypercore.core.core import Core
from hypercore.core.store import Store
from hypercore.crypto import KeyPair
from seederfarm.control.reports import audits
from seederfarm.registry.models import Drive, Replica

from .fakes import FakeBroker, FakeWorker

WRITER = KeyPair.from_seed(b"w" * 32)


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
