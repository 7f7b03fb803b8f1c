"""The rules: facts about drives, workers, sources and copies become findings in words. Pure.

Which facts meet a condition is decided here and in the queries of `facts`; for how long they must, in
`hysteresis`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from farmwire.blind_cores import MAX_CORES_OF_WORKER
from seederfarm.registry import growth
from seederfarm.registry.alert_rules import RULES
from seederfarm.registry.models.history import Severity
from workers import units

MAX_ERROR = 200
"""Characters of an error of others that are repeated. Ours."""


class Finding(NamedTuple):
    """A condition that holds now, in words."""

    kind: str
    subject: str
    text: str
    what: str
    kept: str = ""
    does: str = ""
    hint: str = ""
    severity: Severity = Severity.WARNING
    drive_id: int | None = None
    worker_id: int | None = None


class DriveFacts(NamedTuple):
    """The facts of a drive that rules need."""

    id: int
    name: str
    counted: int
    """Copies that count."""
    complete: int
    """Copies that are complete, also those that do not count."""
    wanted: int
    proven_at: datetime | None
    """The oldest proof of those that count."""
    wrote_at: datetime | None
    """When its publisher last wrote."""
    have_bytes: int = 0
    """Of the fullest copy."""
    total_bytes: int = 0


class WorkerFacts(NamedTuple):
    """The facts of a worker that rules need."""

    id: int
    name: str
    silent_seconds: float
    copies: int
    free_bytes: int | None
    used_bytes: int | None
    alone: int = 0
    """Drives of which no other worker has a complete copy."""
    growth: float | None = None
    """Bytes a day. None: not known yet."""


class SourceFacts(NamedTuple):
    """The facts of a source that rules need."""

    id: int
    name: str
    failures: int
    error: str
    listed: int | None


class CopyFacts(NamedTuple):
    """The facts of a copy that rules need."""

    id: int
    drive_id: int
    drive: str
    worker_id: int
    worker: str
    failures: int
    counted: int
    """Other copies of the drive that count."""
    wanted: int


class ClientFacts(NamedTuple):
    """The facts of a client of blind peers that rules need."""

    id: int
    name: str
    cores: int
    """Those that are registered."""


def drive_short(drive: DriveFacts, now: datetime) -> Finding:
    """Alert about a drive with fewer copies that count than it wants. It quotes what is complete all the
    same."""
    complete = drive.complete - drive.counted
    uncounted = f" {units.plural(complete, 'more copy')} is not proven." if complete == 1 else ""
    if complete > 1:
        uncounted = f" {complete} more copies are not proven."
    kept = f"{_copies(drive.counted)} complete" if drive.counted else "No copy is complete and proven now"
    if drive.proven_at is not None:
        kept += f", proven {_age(drive.proven_at, now)}"
    return Finding(
        kind="drive.short",
        subject=f"drive.short:{drive.id}",
        text=f"{drive.name} has {drive.counted} of {_copies(drive.wanted)}",
        what=f"Fewer copies count than are wanted, and nothing arrives.{uncounted}",
        kept=f"{kept}. {_publisher(drive, now)}",
        drive_id=drive.id,
    )


def drive_unavailable(drive: DriveFacts, now: datetime) -> Finding:
    """Alert about a drive of which no complete copy is online."""
    had = (
        f"{_copies(drive.complete)} complete, on workers that are away or paused. " if drive.complete else ""
    )
    return Finding(
        kind="drive.unavailable",
        subject=f"drive.unavailable:{drive.id}",
        text=f"{drive.name} is unavailable",
        what="No complete copy of it is online, so the farm cannot serve all of it.",
        kept=f"{had or _share(drive)} {_publisher(drive, now)}",
        severity=Severity.ERROR,
        drive_id=drive.id,
    )


def upstream_gone(drive: DriveFacts, now: datetime) -> Finding:
    """Alert about a drive whose publisher went before any copy was complete."""
    return Finding(
        kind="drive.upstream_gone",
        subject=f"drive.upstream_gone:{drive.id}",
        text=f"{drive.name}: its publisher went before a copy was complete",
        what="No copy is complete, no peer is connected, and no block arrives.",
        kept=f"{_share(drive)} {_publisher(drive, now)}",
        drive_id=drive.id,
    )


def worker_silent(worker: WorkerFacts) -> Finding:
    """Alert about a worker that missed heartbeats and is not lost yet."""
    return Finding(
        kind="worker.silent",
        subject=f"worker.silent:{worker.id}",
        text=f"{worker.name} is silent",
        what=f"Nothing heard for {_duration(worker.silent_seconds)}. It holds {_copies(worker.copies)}.",
        worker_id=worker.id,
    )


def worker_lost(worker: WorkerFacts) -> Finding:
    """Alert about a lost worker. It says how many of its drives no other worker has completely."""
    kept = "Nothing is lost: all of its drives have complete copies elsewhere."
    if worker.alone:
        others = worker.copies - worker.alone
        kept = (
            f"{others:,} of its {units.plural(worker.copies, 'drive')} have complete copies elsewhere, "
            f"{worker.alone:,} have none. Its own stay on its disk."
        )
    if not worker.copies:
        kept = "It held no copies."
    return Finding(
        kind="worker.lost",
        subject=f"worker.lost:{worker.id}",
        text=f"{worker.name} is lost",
        what=f"Nothing heard for {_duration(worker.silent_seconds)}. It holds {_copies(worker.copies)}.",
        kept=kept,
        severity=Severity.ERROR,
        worker_id=worker.id,
    )


def is_full(worker: WorkerFacts, percent: int) -> bool:
    """Whether at most `percent` of a worker's room is free."""
    if worker.free_bytes is None or worker.used_bytes is None:
        return False
    room = worker.free_bytes + worker.used_bytes
    return room > 0 and worker.free_bytes * 100 <= room * percent


def is_full_soon(worker: WorkerFacts, days: int, percent: int) -> bool:
    """Whether its room is used up within `days`; one that is full already is not."""
    left = growth.days_left(worker.free_bytes, worker.growth)
    return left is not None and left <= days and not is_full(worker, percent)


def disk_full(worker: WorkerFacts) -> Finding:
    """Alert about a worker without room. Sizes are decimal."""
    free, used = worker.free_bytes or 0, worker.used_bytes or 0
    return Finding(
        kind="worker.disk_full",
        subject=f"worker.disk_full:{worker.id}",
        text=f"{worker.name} is full",
        what=f"{units.format_size(free)} of {units.format_size(free + used)} are free.",
        severity=Severity.ERROR,
        worker_id=worker.id,
    )


def disk_forecast(worker: WorkerFacts) -> Finding:
    """Alert about a worker whose room is used up soon, at its growth of the last days."""
    free, used = worker.free_bytes or 0, worker.used_bytes or 0
    left = growth.days_left(worker.free_bytes, worker.growth) or 0.0
    more = units.format_size(worker.growth or 0)
    return Finding(
        kind="worker.disk_forecast",
        subject=f"worker.disk_forecast:{worker.id}",
        text=f"{worker.name} will be full in about {units.plural(max(1, round(left)), 'day')}",
        what=f"{units.format_size(used)} of {units.format_size(free + used)} are used, "
        f"about {more} more each day.",
        worker_id=worker.id,
    )


def source_failing(source: SourceFacts) -> Finding:
    """Alert about a source whose last readings failed, with MAX_ERROR characters of the last error."""
    keys = "Its keys stay" if source.listed is None else f"Its {units.plural(source.listed, 'key')} stay"
    return Finding(
        kind="source.failing",
        subject=f"source.failing:{source.id}",
        text=f"Source {source.name} fails",
        what=f"{units.plural(source.failures, 'reading')} in a row failed: {source.error[:MAX_ERROR]}",
        kept=f"{keys} as they are.",
    )


def copy_proof(copy: CopyFacts) -> Finding:
    """Alert about a copy that did not answer challenges rightly and in time."""
    times = {1: "a challenge", 2: "two challenges"}.get(copy.failures, f"{copy.failures:,} challenges")
    return Finding(
        kind="copy.proof",
        subject=f"copy.proof:{copy.id}",
        text=f"{copy.drive}: wrong proof from {copy.worker}",
        what=f"Its copy did not answer {times} in a row rightly and in time.",
        kept=f"That copy is not counted. {_copies(copy.counted)} of others {_are(copy.counted)} complete, "
        f"{copy.wanted} {_are(copy.wanted)} wanted.",
        drive_id=copy.drive_id,
        worker_id=copy.worker_id,
    )


def client_refused(client: ClientFacts, bound: int) -> Finding:
    """Alert about an app with cores that are not registered: it has `bound` of them, or a worker is full."""
    registered = f"{units.plural(client.cores, 'core')} of it {_are(client.cores)} registered"
    why = f", and no app may have more than {bound:,}" if client.cores >= bound else ""
    room = "" if why else f" A worker's blind peer has no room for more ({MAX_CORES_OF_WORKER:,})."
    return Finding(
        kind="client.refused",
        subject=f"client.refused:{client.id}",
        text=f"The app {client.name} has more cores than there is room for",
        what=f"{registered}{why}.{room}",
        hint=""
        if why
        else "Give apps the keys of several workers (`mirrors`), or say who may ask: `worker apps WORKER`.",
    )


def more(kind: str, count: int, severity: Severity = Severity.WARNING) -> Finding:
    """One finding for those of a rule beyond its bound."""
    rule = RULES[kind]
    return Finding(
        kind=kind,
        subject=f"{kind}:more",
        text=f"{rule.title}: {count:,} more",
        what=f"The condition holds for {count:,} others that have no alert of their own: {rule.condition}."
        if "{" not in rule.condition
        else f"The condition holds for {count:,} others that have no alert of their own.",
        severity=severity,
    )


def _copies(count: int) -> str:
    return "1 copy" if count == 1 else f"{count:,} copies"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _age(at: datetime, now: datetime) -> str:
    return units.format_age(max(0.0, (now - at).total_seconds()))


def _duration(seconds: float) -> str:
    return units.format_age(max(0.0, seconds)).removesuffix(" ago").replace("just now", "some seconds")


def _publisher(drive: DriveFacts, now: datetime) -> str:
    if drive.wrote_at is None:
        return "Its publisher was not seen writing."
    return f"Its publisher last wrote {_age(drive.wrote_at, now)}."


def _share(drive: DriveFacts) -> str:
    if not drive.total_bytes:
        return "Nothing of it is stored yet."
    have, total = units.format_size(drive.have_bytes), units.format_size(drive.total_bytes)
    return f"The fullest copy has {have} of {total}."


def chosen(
    found: Sequence[int], subject: str, lasting: set[str], watched: set[str], bound: int
) -> tuple[list[int], int]:
    """At most `bound` of these primary keys, and how many are left out.

    Those that have an alert stay first, then those that are watched: the choice does not change while the
    conditions last.
    """
    if len(found) <= bound:
        return list(found), 0

    def order(pk: int) -> tuple[int, int]:
        name = f"{subject}:{pk}"
        return (0 if name in lasting else 1 if name in watched else 2), pk

    return sorted(found, key=order)[:bound], len(found) - bound
