"""Ingests reports of workers: one transaction a report, a fixed number of statements.

A report may come late, twice, or never. Its state of a replica counts if it was observed after the known one;
the sequence window rejects copies of the report itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import transaction
from django.utils import timezone
from msgspec.structs import replace

from farmwire.gaps import agree, max_held, to_text
from farmwire.message import decode, storable, to_builtins
from farmwire.rejection import MessageRejected
from farmwire.report import Heartbeat, Phase, ReplicaFacts, ReplicaReport, Report, WorkerEvent
from farmwire.tasks import REPORT
from hypercore.keys import short_key
from seederfarm.registry import reported, stored_health
from seederfarm.registry.models import Drive, Event, Replica, Worker
from seederfarm.registry.models.history import FORK_ALERT, Severity
from seederfarm.registry.models.worker import silent_since
from seederfarm.registry.replica_states import DesiredPhase, ImpossibleStep, ReplicaStep, after
from seederfarm.registry.sql import execute, rows_as_table

from ..history import alerts, event_budget, samples
from ..history.events import EventRow, record
from ..messaging import assignments, outbox
from ..messaging.inbox import Received, receive, reject_malformed
from ..messaging.task_names import ControlTask
from . import traffic
from .blind_cores import blind_cores
from .observed import Current, Update, observe, time_of
from .runs import record_run

ARRIVAL_RESOLUTION: Final = timedelta(seconds=60)
"""Resolution of the last growth of a drive's copies: half of the time for which it counts."""
ROUTINE: Final = timedelta(hours=1)
"""A copy that was complete within this time and falls behind, or becomes complete again, causes no event: a
drive that is written all day would have thousands."""

SYNCED: Final = "synced"
"""Code of the event of a worker whose text names the version that it has on disk, and its bytes."""
HUNG_ALERT: Final = "worker.engine_hung"

RECORDED_PHASES: Final = {
    Phase.DOWNLOADING: ("is being downloaded", Severity.INFO),
    Phase.COMPLETE: ("is complete", Severity.INFO),
    Phase.ERROR: ("has an error", Severity.WARNING),
    Phase.REMOVED: ("was removed", Severity.INFO),
}
"""Changes of phase that are recorded as events."""

log = logging.getLogger(__name__)


class IngestResult(NamedTuple):
    """The outcome of a report."""

    refused: str = ""
    applied: int = 0
    """Replicas that changed."""
    stale: int = 0
    """Replicas with a newer known state."""
    unassigned: int = 0
    """Replicas that are not assigned."""
    impossible: int = 0
    """Replicas with a transition that `replica_states` does not have."""


def ingest_report(data: object, now: datetime | None = None) -> IngestResult:
    """Ingest the envelope of a `farmwire.report.Report`. Safe to repeat."""
    now = now or timezone.now()
    with transaction.atomic():
        received = receive(data, name=REPORT, now=now)
        if not isinstance(received, Received):
            return IngestResult(received)
        try:
            report = decode(received.envelope.body, Report)
        except MessageRejected as refusal:
            return IngestResult(reject_malformed(received.worker, REPORT, refusal))
        if report.heartbeat is not None:
            record_run(received.worker, report.heartbeat.run, received.envelope.seq, now)
        return apply_report(received.worker, report, now)


def apply_report(worker: Worker, report: Report, now: datetime) -> IngestResult:
    """Apply a verified report. Call it in a transaction that holds the worker's row."""
    result = _replicas(worker, report.replicas, now) if report.replicas else IngestResult()
    if report.heartbeat is not None:
        _heartbeat(worker, report.heartbeat, now)
    if report.samples:
        samples.record(worker.pk, report.samples, now)
    if report.served:
        traffic.served(worker, report.served, now)
    if report.blind_cores:
        blind_cores(worker, report.blind_cores, now)
    if report.peers:
        traffic.peers(worker, report.peers, now)
    if report.events:
        events = [
            replace(event, code=storable(event.code), text=storable(event.text)) for event in report.events
        ]
        _worker_events(worker, events, now)
    return result


# --- heartbeats


def _heartbeat(worker: Worker, beat: Heartbeat, now: datetime) -> None:
    used = beat.engine.stored_bytes
    values = {
        "last_seen_at": now,
        "assignment_version": beat.assignment_version,
        "assignment_digest": beat.assignment_digest,
        "software": storable(beat.software[:64]),
        "free_bytes": beat.free_bytes,
        "used_bytes": used,
        "capacity_bytes": used + beat.free_bytes if beat.quota_bytes is None else beat.quota_bytes,
        "host": to_builtins(beat.host),
        "engine": to_builtins(beat.engine),
    }
    returned = worker.lost_since
    Worker.objects.filter(pk=worker.pk).update(**values, lost_since=None)
    if returned is not None:
        _returned(worker, returned, now)
    if worker.last_seen_at is None:
        log.info("%s reports for the first time", worker)
    if worker.free_bytes is None or (worker.last_seen_at or now) < silent_since(now):
        # It can get copies (again): unplaced drives may fit
        outbox.defer(ControlTask.RECONCILE)
    assignments.check_assignment(worker, beat.assignment_version, beat.assignment_digest, now)
    assignments.check_config(worker, beat, now)


def _returned(worker: Worker, lost: datetime, now: datetime) -> None:
    Drive.objects.filter(replicas__worker=worker, dirty=False).update(dirty=True)
    Event.objects.create(
        at=now,
        kind="worker.returned",
        worker=worker,
        text=f"{worker.name} is back, after {(now - lost).total_seconds():.0f} s",
        data={"worker": worker.node_id},
    )
    alerts.resolve([f"worker.lost:{worker.pk}"], now)
    stored_health.changed_on([worker.pk], now)
    outbox.defer(ControlTask.RECONCILE_DIRTY)


# --- replicas


def _replicas(worker: Worker, reports: Sequence[ReplicaReport], now: datetime) -> IngestResult:
    newest: dict[str, ReplicaReport] = {}
    for report in reports:
        before = newest.get(report.key)
        if before is None or report.observed_at > before.observed_at:
            newest[report.key] = _consistent(report)
    known = _known(worker, list(newest))
    news: list[Update] = []
    stale, impossible = 0, []
    for row in known:
        report = newest[row.key]
        # A worker's clock that was ahead must not make later reports look old.
        at = min(time_of(report.observed_at), now)
        if row.last_report_at is not None and at <= row.last_report_at:
            stale += 1
            continue
        try:
            state = after(DesiredPhase(row.desired, Phase(row.phase)), ReplicaStep.REPORT, report.phase)
            news.append(Update(row, report, at, state))
        except ImpossibleStep as error:
            impossible.append(error)
    if impossible:  # one line for all: a worker may send any number
        log.warning("%s: %d impossible reports are ignored: %s", worker, len(impossible), impossible[0])
    if news:
        _apply(worker, news, now)
    return IngestResult("", len(news), stale, len(newest) - len(known), len(impossible))


def _consistent(report: ReplicaReport) -> ReplicaReport:
    """Remove contradictory fields. Proofs are requested for the blocks outside the gaps: with gaps of other
    cores, or more blocks than the gaps leave, a copy could report everything and have to prove little."""
    gaps = report.gaps if agree(report.gaps, length=report.length, blocks=report.blocks) else ()
    limit = max_held(gaps) if gaps else report.blocks
    values = {name: getattr(report, name) for name in ReplicaFacts.__struct_fields__}
    # These texts may come from the writer of the drive or a peer.
    texts = {name: storable(text) for name, text in values.items() if isinstance(text, str)}
    return replace(report, gaps=gaps, have_blocks=min(report.have_blocks, limit), **texts)


def _known(worker: Worker, keys: list[str]) -> list[Current]:
    rows = Replica.objects.filter(worker=worker, drive__key__in=keys).values_list(
        "pk",
        "drive_id",
        "desired",
        "phase",
        "last_report_at",
        "completed_at",
        "gaps",
        "fork",
        "length",
        "have_blocks",
        "drive__arrived_at",
        "drive__label",
        "drive__key",
    )
    return [Current(*row) for row in rows]


def _apply(worker: Worker, news: list[Update], now: datetime) -> None:
    gone = [n for n in news if n.state is None]
    _update([n for n in news if n.state is not None], now)
    if gone:
        Replica.objects.filter(pk__in=[n.known.id for n in gone], desired=False).delete()
    changed = [n for n in news if n.known.phase != n.report.phase]
    _record(worker, changed, now)
    # Which copies can be released or must be replaced depends on which are complete and which were removed,
    dirty = [n.known.drive_id for n in changed if Phase.COMPLETE in (n.known.phase, n.report.phase)]
    dirty += [n.known.drive_id for n in gone]
    # and on the blocks of incomplete ones
    dirty += [n.known.drive_id for n in news if n.known.gaps != to_text(n.report.gaps)]
    health = [n.known.drive_id for n in news if _may_change_health(n, now)]
    observe(news, set(dirty), set(health), now)


def _may_change_health(news: Update, now: datetime) -> bool:
    """Whether what the health of the drive depends on is not as it was. A copy that grows counts once in a
    while."""
    known, report = news.known, news.report
    if (known.phase, known.fork, known.length) != (report.phase, report.fork, report.length):
        return True
    if report.have_blocks <= known.have_blocks:
        return bool(known.have_blocks) and not report.have_blocks
    return known.arrived_at is None or known.arrived_at < now - ARRIVAL_RESOLUTION


_COLUMNS: Final = (
    ("id", "bigint"),
    ("phase", "text"),
    ("last_report_at", "timestamptz"),
    ("completed_at", "timestamptz"),
    *((column.name, column.sql_type) for column in reported.COLUMNS),
)


def _update(news: list[Update], now: datetime) -> None:
    """Write all rows in one statement; rows that became newer in the meantime stay."""
    if not news:
        return
    rows = [
        (
            n.known.id,
            n.report.phase,
            n.at,
            _completed(n, now),
            *(column.value(n.report) for column in reported.COLUMNS),
        )
        for n in sorted(news, key=lambda n: n.known.id)
    ]
    table, parameters = rows_as_table(_COLUMNS, rows)
    sets = ", ".join(f"{name} = v.{name}" for name, _ in _COLUMNS[1:])
    # A proof of one fork does not hold for another.
    sets += ", last_proven_at = CASE WHEN v.fork = r.fork THEN r.last_proven_at END"
    sets += ", grew_at = CASE WHEN v.have_blocks > r.have_blocks THEN %s ELSE r.grew_at END"
    execute(
        f"UPDATE registry_replica AS r SET {sets} FROM {table} WHERE r.id = v.id "
        "AND (r.last_report_at IS NULL OR r.last_report_at < v.last_report_at)",
        [now, *parameters],
    )


def _completed(news: Update, now: datetime) -> datetime | None:
    """When the copy became complete, by our clock, as proofs are: a worker must not choose their order."""
    known, report = news.known, news.report
    if report.phase is not Phase.COMPLETE:
        return known.completed_at
    # Longer than it was: the last proof was of less
    as_before = known.phase == Phase.COMPLETE and (known.fork, known.length) >= (report.fork, report.length)
    return known.completed_at if as_before else now


def _is_routine(news: Update) -> bool:
    """Whether a copy only follows its writer: it was complete recently, and had no other problem since."""
    follows = (Phase.COMPLETE, Phase.DOWNLOADING)
    known = news.known
    if news.report.phase not in follows or known.phase not in follows or known.completed_at is None:
        return False
    return news.at - known.completed_at < ROUTINE


def _record(worker: Worker, changed: list[Update], now: datetime) -> None:
    events = []
    for n in changed:
        if n.report.phase not in RECORDED_PHASES or _is_routine(n):
            continue
        text, severity = RECORDED_PHASES[n.report.phase]
        name = n.known.label or n.report.title or short_key(bytes.fromhex(n.known.key))
        detail = f": {n.report.error}" if n.report.error else ""
        events.append(
            EventRow(
                at=n.at,
                kind=f"replica.{n.report.phase}",
                severity=severity,
                drive_id=n.known.drive_id,
                worker_id=worker.pk,
                text=f"The copy of {name} on {worker.name} {text}{detail}",
                data={"key": n.known.key, "worker": worker.node_id, "from": n.known.phase},
            )
        )
    record(event_budget.budget.within(worker, events, now))


# --- events


def _worker_events(worker: Worker, events: Sequence[WorkerEvent], now: datetime) -> None:
    keys = {event.key for event in events if event.key is not None}
    known = Drive.objects.filter(key__in=keys).only("key", "label", "title") if keys else ()
    drives = {drive.key: drive for drive in known}
    rows = [
        EventRow(
            at=min(time_of(event.at), now),
            kind=f"engine.{event.code}"[:40],
            severity=Severity.INFO,
            drive_id=drive.pk if drive is not None else None,
            worker_id=worker.pk,
            text=_text_of(worker, drive, event),
            data={"worker": worker.node_id, "key": event.key},
        )
        for event, drive in ((event, drives.get(event.key or "")) for event in events)
    ]
    record(event_budget.budget.within(worker, rows, now))
    _hung(worker, events, now)
    forked = [
        (event, drive.pk)
        for event in events
        if event.code == "fork_quarantined" and (drive := drives.get(event.key or "")) is not None
    ]
    alerts.raise_alerts(
        [
            alerts.AlertSpec(
                kind=FORK_ALERT,
                subject=f"{FORK_ALERT}:{drive_id}",
                text=f"{worker.name}: {event.text}",
                hint="To accept it, let the drive follow up to that fork; to stay, quarantine it again.",
                drive_id=drive_id,
            )
            for event, drive_id in forked
        ],
        now,
    )
    stored_health.refresh((drive_id for _, drive_id in forked), now)


def _text_of(worker: Worker, drive: Drive | None, event: WorkerEvent) -> str:
    """What happened, where, and to which drive."""
    text = event.text or event.code
    if event.key is None:
        return f"{worker.name}: {text}"
    copy = f"The copy of {drive or short_key(bytes.fromhex(event.key))} on {worker.name}"
    return f"{copy} has all of {text}" if event.code == SYNCED else f"{copy}: {text}"


def _hung(worker: Worker, events: Sequence[WorkerEvent], now: datetime) -> None:
    """An alert from the end of a hung engine until one is ready."""
    last_events = [event for event in events if event.code in ("engine_hung", "engine_ready")]
    if not last_events:
        return
    last = max(last_events, key=lambda event: event.at)
    subject = f"{HUNG_ALERT}:{worker.pk}"
    if last.code == "engine_ready":
        alerts.resolve([subject], now)
        return
    spec = alerts.AlertSpec(
        kind=HUNG_ALERT,
        subject=subject,
        text=f"{worker.name}: {last.text}",
        hint="Its log has the place where it hung. A disk that fails or is very slow does this, too.",
        worker_id=worker.pk,
    )
    alerts.raise_alerts([spec], now)
