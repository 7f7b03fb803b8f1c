"""Proof of availability: complete copies must prove random blocks that they have.

The first challenge of a drive is for blocks of its file list, including block 0. The proof contains the
signed manifest and the header, which name the blobs core. That core is challenged next: a copy is proven when
both are.
"""

from __future__ import annotations

import logging
import random
import uuid
from base64 import b64decode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from farmwire.audit import MAX_ANSWER_BYTES, MAX_BLOCKS, Answer
from farmwire.audit import Challenge as Order
from farmwire.gaps import CoreGaps, Run, from_text, held_runs, max_held, may_lack
from farmwire.message import decode
from farmwire.proofs import ProofFailed, verify_block
from farmwire.rejection import MessageRejected
from farmwire.tasks import AUDIT, AUDIT_ANSWER
from hypercore.codec import Reader
from hypercore.errors import HypercoreError
from hypercore.wire.data import Data
from seederfarm.registry import stored_health
from seederfarm.registry.models import Challenge, Drive, Event, Replica
from seederfarm.registry.models.history import Severity
from seederfarm.registry.models.replica import MAX_PROOF_FAILURES
from seederfarm.registry.models.worker import silent_since
from workers.engine.model.kind import Kind, inspect

from ..messaging import outbox
from ..messaging.assignments import TALKING
from ..messaging.inbox import Received, receive, reject_malformed
from . import challenge_ids

log = logging.getLogger(__name__)

TIME_TO_ANSWER: Final = timedelta(minutes=10)
ANSWERS_COME_FOR: Final = timedelta(days=1)
"""Time after the deadline for which an answer may still wait at the broker (`workers.agent.reporter`)."""
MAX_RUN: Final = 350
"""Challenges of one run: every 10 s, they prove three million copies a day."""
NEW_SHARE: Final = 0.5
"""Largest share of a run for copies that do not count yet, while others are due."""
MAX_PROOF_BYTES: Final = 8 << 20
"""Bytes of content in a challenge, estimated by the mean size of blocks."""

MAIN, BLOBS = 0, 1
"""The core that the key names, and the other one of a drive, in the order of gaps."""

_RNG: Final = random.SystemRandom()


class _Due(NamedTuple):
    """A copy that is due for a proof."""

    id: int
    worker_id: int
    node_id: str
    key: str
    length: int
    total_blocks: int
    total_bytes: int
    gaps: str


def challenge_due(now: datetime | None = None, rng: random.Random = _RNG) -> int:
    """Challenge complete copies: first those that do not count yet, then those challenged longest ago.
    Returns their number."""
    now = now or timezone.now()
    before = now - timedelta(seconds=settings.FARM.audit_every)
    rows = Replica.objects.filter(
        desired=True,
        phase=Replica.Phase.COMPLETE,
        length__gt=0,
        worker__state__in=TALKING,
        worker__paused=False,  # it keeps its copies, and its engine has no keys loaded
        worker__last_seen_at__gte=silent_since(now),  # a silent one would only be late
        worker__lost_since=None,
    ).exclude(drive__state=Drive.State.REMOVING)
    asked_before = Q(last_challenged_at__isnull=True) | Q(last_challenged_at__lt=before)
    never = Q(last_challenged_at__isnull=True) | Q(last_challenged_at__lt=F("completed_at"))
    lost = Q(last_challenged_at__lt=now - TIME_TO_ANSWER, proof_failures__lt=MAX_PROOF_FAILURES)
    with transaction.atomic():
        old = _first(rows.filter(asked_before), MAX_RUN)
        new = _first(rows.filter(never | lost | asked_before, proven=False), MAX_RUN)
        kept = max(int(MAX_RUN * NEW_SHARE), MAX_RUN - len(old))
        due = list({copy.id: copy for copy in (*new[:kept], *old)}.values())[:MAX_RUN]
        Replica.objects.filter(pk__in=[copy.id for copy in due]).update(last_challenged_at=now)
        picked = [(copy, copy.key, _pick_first(copy, rng)) for copy in due]
        _ask([question for question in picked if question[2]], now)
    return len(due)


def _first(rows: QuerySet[Replica], count: int) -> list[_Due]:
    found = rows.order_by(F("last_challenged_at").asc(nulls_first=True), "pk").values_list(
        "pk", "worker_id", "worker__node_id", "drive__key", "length", "total_blocks", "total_bytes", "gaps"
    )
    return [_Due(*row) for row in found.select_for_update(of=("self",), skip_locked=True)[:count]]


def _pick_first(copy: _Due, rng: random.Random) -> list[int]:
    """Blocks of the core that the key names, with the header if the copy reports a second core, which the
    header may name. The kind of the drive is not used: a worker reported it."""
    blocks = _pick(copy, MAIN, copy.length, rng)
    gaps = _gaps(copy.gaps, MAIN)
    if copy.total_blocks <= copy.length or (gaps is not None and may_lack(gaps, 0)):
        return blocks
    return sorted({0, *blocks[: MAX_BLOCKS - 1]})


def _pick(copy: _Due, core: int, length: int, rng: random.Random) -> list[int]:
    """Random blocks below `length` that the copy has, fewer where blocks are large."""
    mean = copy.total_bytes // max(1, copy.total_blocks)
    affordable = max(1, MAX_PROOF_BYTES // max(1, mean))
    gaps = _gaps(copy.gaps, core)
    exact = gaps is None or gaps.exact
    # Inexact gaps cover large parts with perhaps few missing blocks: many blocks are requested, and some may
    # be missing (`_wrong_proofs`).
    count = min(settings.FARM.audit_blocks if exact else MAX_BLOCKS, MAX_BLOCKS, affordable)
    runs = held_runs(gaps) if gaps is not None and exact else [(0, length)]
    held = sum(end - start for start, end in runs)
    return sorted(_nth(runs, number) for number in rng.sample(range(held), min(count, held)))


def _nth(runs: Sequence[Run], number: int) -> int:
    """The block with that number, counted over the runs."""
    for start, end in runs:
        if number < end - start:
            return start + number
        number -= end - start
    raise AssertionError("unreachable")


def _gaps(text: str, core: int) -> CoreGaps | None:
    """Gaps of the first or second core of a copy; None without gaps."""
    try:
        gaps = from_text(text)
    except ValueError:
        return None
    return gaps[core] if core < len(gaps) else None


def _ask(
    questions: Sequence[tuple[_Due, str, list[int]]],
    now: datetime,
    *,
    head: tuple[int | None, int | None] = (None, None),
) -> None:
    """`head`: fork and length of the key's own core that the copy has proven just now."""
    deadline = now + TIME_TO_ANSWER
    rows = [
        Challenge(
            id=challenge_ids.make(copy.node_id, deadline),
            replica_id=copy.id,
            core=core,
            blocks=blocks,
            sent_at=now,
            deadline=deadline,
            fork=head[0],
            length=head[1],
        )
        for copy, core, blocks in questions
    ]
    Challenge.objects.bulk_create(rows)
    orders: dict[tuple[int, str], list[Order]] = {}
    for row, (copy, core, blocks) in zip(rows, questions, strict=True):
        order = Order(id=str(row.id), key=copy.key, core=core, blocks=blocks, deadline=deadline.timestamp())
        orders.setdefault((copy.worker_id, copy.node_id), []).append(order)
    for (worker_id, node_id), some in orders.items():
        outbox.send(worker_id, node_id, AUDIT, some, now)


def ingest_answer(data: object, now: datetime | None = None, rng: random.Random = _RNG) -> str:
    """Verify the envelope of a `farmwire.audit.Answer`. Returns the outcome, or why it was rejected."""
    now = now or timezone.now()
    with transaction.atomic():
        received = receive(data, name=AUDIT_ANSWER, now=now, limit=MAX_ANSWER_BYTES)
        if not isinstance(received, Received):
            return received
        worker = received.worker
        try:
            answer = decode(received.envelope.body, Answer)
            number = uuid.UUID(answer.id)
        except MessageRejected as refusal:
            return reject_malformed(worker, AUDIT_ANSWER, refusal)
        except ValueError:
            return _unasked(worker.pk, answer.id)
        asked_until = challenge_ids.deadline_of(number, worker.node_id)
        row = (
            Challenge.objects.select_for_update(of=("self",))
            .select_related("replica__drive")
            .filter(pk=number, replica__worker=worker)
            .first()
        )
        if row is None and asked_until is not None and now < asked_until + ANSWERS_COME_FOR:
            return "ignored: the copy was removed meanwhile"
        if row is not None and row.outcome == Challenge.Outcome.LATE:
            return row.outcome
        if row is None or row.outcome != Challenge.Outcome.OPEN:
            return _unasked(worker.pk, answer.id)
        return _judge(row, worker.node_id, answer, now, rng)


def _unasked(worker_id: int, answer: str) -> str:
    reason = f"{AUDIT_ANSWER}: no challenge {answer} is open"
    outbox.refuse(worker_id, reason)
    return reason


def _judge(row: Challenge, node_id: str, answer: Answer, now: datetime, rng: random.Random) -> str:
    if now > row.deadline:
        return _failed(row, Challenge.Outcome.LATE, "the answer came after the deadline", now)
    wrong, heads = _check(row, answer)
    if wrong:
        return _failed(row, Challenge.Outcome.WRONG, wrong, now)
    if heads and row.core == row.replica.drive.key:
        row.fork, row.length = min(heads)
    row.outcome, row.answered_at = Challenge.Outcome.PROVEN, now
    if not any(proof.data for proof in answer.proofs):
        # By its numbers it may have none of these, which proves nothing: other blocks are requested.
        row.reason = "the copy lacks all blocks that were asked for, as it may"
    row.save(update_fields=["outcome", "answered_at", "reason", "fork", "length"])
    if row.reason:
        return row.outcome
    replica = row.replica
    blobs = _blobs_core(row, answer)
    if blobs is not None:
        key, length = blobs
        copy = _Due(
            replica.pk, replica.worker_id, node_id, replica.drive.key, replica.length, replica.total_blocks,
            replica.total_bytes, replica.gaps,
        )  # fmt: skip
        blocks = _pick(copy, BLOBS, length, rng)
    if blobs is not None and blocks:
        _ask([(copy, key, blocks)], now, head=(row.fork, row.length))
    else:
        _proven(replica, row, now)
    return row.outcome


def _proven(replica: Replica, last: Challenge, now: datetime) -> None:
    """Record a proof, whose last challenge this was. One requested before the copy became complete does not
    count: it is challenged again."""
    rows = Replica.objects.filter(pk=replica.pk)
    rows.update(proof_failures=0)
    done = rows.filter(Q(completed_at__isnull=True) | Q(completed_at__lte=last.sent_at)).update(
        last_proven_at=now, proven_length=last.length or 0, proven_fork=last.fork or 0
    )
    stored_health.refresh([replica.drive_id], now)
    if done and not replica.proven:  # placement waits for it
        Drive.objects.filter(pk=replica.drive_id, dirty=False).update(dirty=True)


Heads = set[tuple[int, int]]
"""Fork and length of signed heads."""


def _check(row: Challenge, answer: Answer) -> tuple[str, Heads]:
    """The reason why an answer is wrong, empty if it is right; and the heads that it proves."""
    if answer.core != row.core:
        return f"asked about {row.core}, answered about {answer.core}", set()
    if answer.error:
        return f"the worker reports: {answer.error}", set()
    if not answer.is_whole(row.blocks):
        return f"asked for blocks {row.blocks}, answered {[proof.block for proof in answer.proofs]}", set()
    return _wrong_proofs(row, answer)


def _wrong_proofs(row: Challenge, answer: Answer) -> tuple[str, Heads]:
    """The reason why proofs are wrong, empty if they are right; and the heads that they prove.

    Blocks that the copy may lack need no proof, if half as many are proven as it should have by its numbers.
    An honest copy fails that three times in a row once in a thousand times.
    """
    core = MAIN if row.core == row.replica.drive.key else BLOBS
    gaps = _gaps(row.replica.gaps, core)
    proven = lacking = 0
    heads: Heads = set()
    try:
        for proof in answer.proofs:
            if not proof.data and gaps is not None and not gaps.exact and may_lack(gaps, proof.block):
                lacking += 1
                continue
            found = verify_block(bytes.fromhex(row.core), proof)
            if row.core == row.replica.drive.key and found.fork < row.replica.fork:
                claimed = row.replica.fork
                return (
                    f"block {proof.block} is of fork {found.fork}, the copy is reported as of {claimed}",
                    set(),
                )
            heads.add((found.fork, found.length))
            proven += 1
    except ProofFailed as failure:
        return str(failure), set()
    asked = len(answer.proofs)
    expected = int(asked * _share_held(row.replica, core) / 2) if lacking else asked
    if proven < expected:
        return f"{proven} of {asked} blocks asked for are there, and at least {expected} should be", set()
    return "", heads


def _share_held(replica: Replica, core: int) -> float:
    """The share of a core that the copy reports to have at least, 0 to 1."""
    gaps = from_text(replica.gaps)
    others = sum(max_held([each]) for number, each in enumerate(gaps) if number != core)
    return max(0, replica.have_blocks - others) / max(1, gaps[core].length)


def _blobs_core(row: Challenge, answer: Answer) -> tuple[str, int] | None:
    """Key and length of the blobs core, if this was the proof of a drive's file list and the copy reports a
    second core.

    The proven manifest and header name it. The header of an encrypted drive cannot be read; if it is compat,
    too, the blobs core is unknown.
    """
    replica, drive = row.replica, row.replica.drive
    length = replica.total_blocks - replica.length
    if row.core != drive.key or length <= 0:
        return None
    key = bytes.fromhex(drive.key)
    proofs = [proof for proof in answer.proofs if proof.data]
    header = next((proof for proof in proofs if proof.block == 0), proofs[0])
    try:
        data = Data.decode(Reader(b64decode(header.data)))
        first = data.block.value if data.block is not None and header.block == 0 else None
        blobs = inspect(key, data.manifest, first, given=Kind.DRIVE).blobs
    except HypercoreError:  # signed by the writer, and no valid header
        return None
    return None if blobs is None else (blobs.hex(), length)


def _failed(row: Challenge, outcome: Challenge.Outcome, reason: str, now: datetime) -> str:
    row.outcome, row.reason = outcome, reason[:300]
    row.answered_at = now
    row.save(update_fields=["outcome", "reason", "answered_at"])
    _count_failures([row], now)
    return row.outcome


def expire(now: datetime | None = None) -> int:
    """Close challenges that were not answered in time. Returns their number.

    It counts as a failure only if the worker has reported since: a silent worker is lost, not lying.
    """
    now = now or timezone.now()
    done = 0
    while True:
        with transaction.atomic():
            rows = (
                Challenge.objects.filter(outcome=Challenge.Outcome.OPEN, deadline__lt=now)
                .select_for_update(of=("self",), skip_locked=True)
                .select_related("replica__drive", "replica__worker")
                .order_by("deadline")
            )
            late = list(rows[:500])
            if not late:
                return done
            Challenge.objects.filter(pk__in=[row.pk for row in late]).update(
                outcome=Challenge.Outcome.LATE, reason="no answer in time"
            )
            for row in late:
                row.reason = "no answer in time"
            _count_failures([row for row in late if _was_heard(row) and not _proven_since(row)], now)
            done += len(late)


def _was_heard(row: Challenge) -> bool:
    seen = row.replica.worker.last_seen_at
    return seen is not None and seen > row.deadline


def _proven_since(row: Challenge) -> bool:
    """Whether a later challenge was answered, so that this one or its answer was lost."""
    proven = row.replica.last_proven_at
    return proven is not None and proven > row.sent_at


def _count_failures(rows: Sequence[Challenge], now: datetime) -> None:
    """Count failures of copies, record events, and queue planning of their drives. A copy that is being
    released, or was released and assigned again since, cannot fail: its worker deleted it by order."""
    rows = [
        row
        for row in rows
        if row.replica.desired
        and row.replica.drive.state != Drive.State.REMOVING
        and row.sent_at >= row.replica.created_at
    ]
    if not rows:
        return
    replicas = Replica.objects.filter(pk__in={row.replica_id for row in rows})
    replicas.update(proof_failures=F("proof_failures") + 1)
    stored_health.refresh({row.replica.drive_id for row in rows}, now)
    Drive.objects.filter(pk__in={row.replica.drive_id for row in rows}, dirty=False).update(dirty=True)
    Event.objects.bulk_create(
        [
            Event(
                at=now,
                kind="replica.unproven",
                severity=Severity.WARNING,
                drive_id=row.replica.drive_id,
                worker_id=row.replica.worker_id,
                text=f"{row.replica.worker.name} could not prove its copy of {row.replica.drive}: "
                f"{row.reason}"[:500],
                data={"key": row.replica.drive.key, "challenge": str(row.pk), "core": row.core},
            )
            for row in rows
        ]
    )
