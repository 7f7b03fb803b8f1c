"""Builds and sends each worker's assignment.

The replicas in the database are the truth; an assignment is built from them whenever it is sent. Copies of
paused drives stay in it: the worker deletes what is missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, cast

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone
from msgspec.structs import replace

from farmwire.assignment import MAX_PEERS, Assignment, AssignmentEntry
from farmwire.message import Kind, to_builtins
from farmwire.report import Heartbeat
from farmwire.tasks import (
    CONFIGURE,
    REFRESH,
    RETIRE,
    SYNC_ASSIGNMENT,
    BlindPeerOrder,
    Configure,
    Limit,
    Refresh,
    Retire,
)
from seederfarm.registry.models import AssignmentState, BlindCore, Replica, Worker
from seederfarm.registry.models.fields import clean_clients, clean_keys
from seederfarm.registry.services.blind_cores import of_wanted_drive
from seederfarm.registry.sql import batches

from . import outbox
from .task_names import ControlTask

RESEND_AFTER: Final = 2 / 3
"""Heartbeats after sending an assignment until it is sent again to a worker that does not report it."""
REMOVAL_TIMEOUT: Final = 12.0
"""Heartbeats after which a released copy counts as removed when the worker confirms an assignment without it
and reports nothing more of the copy: its report was lost, or it never had the copy."""
STALE_UNFINISHED: Final = 12.0
"""Heartbeats without a report of an incomplete copy until a full report is requested."""
STALE_COMPLETE: Final = 6 * 3600.0
"""The same for complete copies, in seconds: workers do not report them while nothing changes."""

TALKING: Final = (Worker.State.ACTIVE, Worker.State.DRAINING)


def heartbeats(number: float) -> timedelta:
    """That many heartbeats as a duration."""
    return timedelta(seconds=number * settings.FARM.heartbeat)


def bump_version(worker_ids: Iterable[int], *, send: bool = True) -> None:
    """The assignments of these workers changed. Call it in the transaction that changes the replicas.

    `send`: send them. Otherwise the next heartbeat notices.
    """
    ids = sorted(set(worker_ids))
    for batch in batches(ids, 1000):
        AssignmentState.objects.bulk_create(
            [AssignmentState(worker_id=pk) for pk in batch], ignore_conflicts=True
        )
        AssignmentState.objects.filter(pk__in=batch).update(version=F("version") + 1, digest="")
    for pk in ids if send else ():
        outbox.defer(ControlTask.SEND_ASSIGNMENT, pk)


def build(worker_id: int, version: int) -> Assignment:
    """Build the assignment from the desired replicas."""
    rows = Replica.objects.filter(worker_id=worker_id, desired=True).order_by("drive_id")
    found = rows.values_list("drive__key", "drive__kind", "drive__priority", "drive__max_fork")
    named = _named_by_clients(worker_id)
    entries = [
        AssignmentEntry(
            key=key,
            kind=cast("Kind | None", kind or None),
            priority=priority,
            max_fork=max_fork,
            **named.get(key, {}),
        )
        for key, kind, priority, max_fork in found.iterator(chunk_size=5000)
    ]
    return Assignment(version=version, entries=entries)


def _named_by_clients(worker_id: int) -> dict[str, dict[str, Any]]:
    """The fields of entries of what clients have blind peers keep, by key. What neither a person nor a source
    wants is not announced, so that copies are fetched from the blind peers of workers that have it."""
    here = BlindCore.objects.filter(drive__replicas__worker=worker_id, drive__replicas__desired=True)
    rows = here.values_list("drive__key", "worker_id", of_wanted_drive())
    kept: dict[str, bool] = {}
    wanted: dict[str, bool] = {}
    for key, keeper, is_wanted in rows:
        kept[key] = kept.get(key, False) or keeper == worker_id
        wanted[key] = is_wanted
    peers = _holders(worker_id, [key for key in kept if not (kept[key] or wanted[key])])
    return {
        key: {
            "blind_peer": kept[key],
            "seeded": wanted[key] or not kept[key],
            "announce": wanted[key],
            "peers": peers.get(key, [])[:MAX_PEERS],
        }
        for key in kept
    }


def _holders(worker_id: int, keys: list[str]) -> dict[str, list[str]]:
    """Public keys of the blind peers of other workers that have copies of these drives, by key."""
    if not keys:
        return {}
    blind_peers = Worker.objects.filter(state__in=TALKING, engine__blind_peer__isnull=False)
    known = {
        pk: numbers["key"] for pk, numbers in blind_peers.values_list("pk", "engine__blind_peer") if numbers
    }
    found: dict[str, list[str]] = {}
    for some in batches(keys, 1000):
        copies = Replica.objects.filter(drive__key__in=some, desired=True, worker__in=known.keys())
        others = copies.exclude(worker=worker_id).order_by("worker_id")
        for key, other in others.values_list("drive__key", "worker_id"):
            found.setdefault(key, []).append(known[other])
    return found


def send_assignment(worker_id: int, now: datetime | None = None) -> Assignment | None:
    """Build and send it whole. Returns None if the worker is gone, or not a member."""
    now = now or timezone.now()
    # A lost worker reads nothing: its next heartbeat shows that it lacks the assignment, which is then sent.
    here = Worker.objects.filter(pk=worker_id, state__in=TALKING, lost_since=None)
    worker = here.values_list("node_id").first()
    if worker is None:
        return None
    with transaction.atomic():
        AssignmentState.objects.get_or_create(worker_id=worker_id)
        # A change of replicas bumps the version in the same transaction: one waits for the other.
        state = AssignmentState.objects.select_for_update().get(pk=worker_id)
        assignment = build(worker_id, state.version)
        if state.digest not in ("", assignment.digest):
            state.version += 1  # a drive's kind or priority changed: same version, other content
            assignment = Assignment(version=state.version, entries=assignment.entries)
        state.digest, state.entries = assignment.digest, len(assignment.entries)
        state.built_at = state.sent_at = now
        state.save()
        outbox.send(worker_id, worker[0], SYNC_ASSIGNMENT, assignment.to_pages(), now)
    return assignment


def check_assignment(worker: Worker, version: int, digest: str, now: datetime) -> bool:
    """Compare a worker's assignment with the current one; have it sent if they differ.

    Returns whether they agree. Call it inside the transaction of the report.
    """
    released = Replica.objects.filter(worker=OuterRef("pk"), desired=False)
    state = AssignmentState.objects.annotate(releasing=Exists(released)).filter(pk=worker.pk).first()
    if state is None:
        bump_version([worker.pk])
        return False
    if state.digest == digest and state.version == version:
        if state.releasing:
            _confirm_removals(worker.pk, now)
        return True
    if version > state.version:
        # Its version is from a later state of the registry: our database was restored from a backup.
        rows = AssignmentState.objects.filter(pk=worker.pk, version=state.version)
        rows.update(version=version + 1, digest="", sent_at=None)
        outbox.defer(ControlTask.SEND_ASSIGNMENT, worker.pk)
    elif state.sent_at is None or state.sent_at <= now - heartbeats(RESEND_AFTER):
        outbox.defer(ControlTask.SEND_ASSIGNMENT, worker.pk)
    return False


def _confirm_removals(worker_id: int, now: datetime) -> None:
    """Delete rows of released copies whose worker has the current assignment and has not reported them
    since."""
    quiet = now - heartbeats(REMOVAL_TIMEOUT)
    gone = Replica.objects.filter(worker_id=worker_id, desired=False, released_at__lte=quiet)
    gone.filter(Q(last_report_at__isnull=True) | Q(last_report_at__lte=quiet)).delete()


def refresh_stale(now: datetime | None = None) -> int:
    """Request full reports from workers whose copies were not reported for too long. Returns their number."""
    now = now or timezone.now()
    unfinished = now - heartbeats(STALE_UNFINISHED)
    complete = now - timedelta(seconds=STALE_COMPLETE)
    here = Replica.objects.filter(
        desired=True,
        worker__state__in=TALKING,
        worker__last_seen_at__gt=unfinished,
        created_at__lt=unfinished,
    )
    never = Q(last_report_at__isnull=True)
    done = Q(phase=Replica.Phase.COMPLETE)
    stale = here.filter(
        (~done & (never | Q(last_report_at__lt=unfinished)))
        | (done & (never | Q(last_report_at__lt=complete)))
    )
    workers = list(stale.values_list("worker_id", "worker__node_id").distinct())
    for worker_id, node_id in workers:
        outbox.send(worker_id, node_id, REFRESH, [Refresh()], now)
    return len(workers)


def send_worker_config(worker_id: int, now: datetime | None = None) -> None:
    """Send a worker its limits and its assignment: it joined, or an operator changed it."""
    now = now or timezone.now()
    worker = Worker.objects.filter(pk=worker_id, lost_since=None).first()
    if worker is not None and worker.state == Worker.State.RETIRED and not worker.broker_hash:
        # One with an account is notified before that ends, `accounts.retirement`
        outbox.send(worker.pk, worker.node_id, RETIRE, [Retire()], now)
    if worker is None or worker.state not in TALKING:
        return
    outbox.send(worker.pk, worker.node_id, CONFIGURE, [configure_of(worker)], now)
    send_assignment(worker.pk, now)


def configure_of(worker: Worker) -> Configure:
    """All settings that the operator made for this worker."""
    limits: dict[Limit, int | None] = {
        "quota_bytes": worker.quota_bytes,
        "up_bytes_per_second": worker.upload_limit,
        "down_bytes_per_second": worker.download_limit,
    }
    return Configure(
        quota_bytes=worker.quota_bytes,
        paused=worker.paused,
        up_bytes_per_second=_limit(worker.upload_limit),
        down_bytes_per_second=_limit(worker.download_limit),
        blind_peer=_blind_peer_order(worker),
        lift=[name for name, value in limits.items() if value is None],
    )


def _blind_peer_order(worker: Worker) -> BlindPeerOrder:
    order = BlindPeerOrder(
        version="-",
        clients=clean_clients(worker.blind_clients),
        trusted=clean_keys(worker.blind_trusted),
        max_cores=worker.blind_max_cores,
        max_bytes=worker.blind_max_bytes,
    )
    digest = hashlib.sha256(json.dumps(to_builtins(order), sort_keys=True).encode()).hexdigest()
    return replace(order, version=digest[:16])


def check_config(worker: Worker, beat: Heartbeat, now: datetime) -> bool:
    """Compare the settings that a worker reports with the current ones; have them sent if they differ.

    Returns whether they agree. Call it inside the transaction of the report.
    """
    wanted, stats = configure_of(worker), beat.engine.blind_peer
    same = replace(beat.configured, blind_peer=None) == replace(wanted, lift=[], blind_peer=None)
    order = None if stats is None else stats.order
    if same and (order is None or wanted.blind_peer is None or order == wanted.blind_peer.version):
        return True
    outbox.send(worker.pk, worker.node_id, CONFIGURE, [wanted], now)
    return False


def _limit(value: int | None) -> int | None:
    return None if value is None else max(1024, value)
