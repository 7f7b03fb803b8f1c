"""The farm in one sentence, a few numbers and a list of what needs a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q, Sum
from django.db.models.functions import Coalesce

from seederfarm.registry.growth import growths
from seederfarm.registry.health_states import WORST_FIRST, Health
from seederfarm.registry.models import Alert, Drive, Event, Replica, Sample, Worker
from seederfarm.registry.services.drains import DrainProgress
from seederfarm.registry.stored_health import count_by_health
from seederfarm.registry.tallies import Tally, tallies, with_tallies
from workers import units

from .drains import progress_of
from .drives import oldest_proof, unwell
from .looks import HEALTH, Look, of_copy, of_event, of_worker
from .room import Forecast, forecast, room_of

URGENT: Final = 5
"""Alerts, and drives without an alert, that the overview lists. Ours."""
EVENTS: Final = 14
WORKERS: Final = 12
COPYING: Final = 8
DAY: Final = timedelta(days=1)
SOON: Final = 60
"""Days within which the end of a worker's room is worth a line. Ours."""
IN_FARM: Final = (Worker.State.ACTIVE, Worker.State.DRAINING)


@dataclass(frozen=True, slots=True)
class Sentence:
    """The state of the farm, in a title and a sentence."""

    look: Look
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """Totals of drives and copies."""

    drives: int
    safe: int
    rest: str
    """`3 at risk, 5 copying`."""
    copies: int
    complete: int
    proven: int
    """Complete copies proven within a day."""
    oldest_proof: datetime | None
    used: int
    room: int
    """Bytes that workers may use; 0: not known."""
    served: float
    """Bytes within a day."""
    workers: int
    online: int
    worker_detail: str


@dataclass(frozen=True, slots=True)
class Todo:
    """An item that needs a person."""

    look: Look
    text: str
    hint: str
    drive: Drive | None
    worker: Worker | None


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """A worker in the overview."""

    worker: Worker
    look: Look
    room: int
    """Bytes that it may use."""
    drain: DrainProgress | None
    full: Forecast | None
    """When its room is used up, if that is soon."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What the first page shows."""

    sentence: Sentence
    todo: list[Todo]
    more: int
    """Open alerts that are not listed."""
    numbers: Numbers
    by_health: list[tuple[Health, Look, int]]
    segments: list[tuple[str, int]]
    workers: list[WorkerLine]
    pending: list[Worker]
    events: list[tuple[Event, Look]]
    copying: list[tuple[Replica, Look]]


def overview(now: datetime) -> Overview:
    """Return the data of the overview. Thirteen queries, whatever the size of the farm."""
    by_health = count_by_health(Drive.objects.all())
    counted = tallies(now)
    workers = with_tallies(Worker.objects.exclude(state=Worker.State.RETIRED), counted)
    in_farm = [(worker, of_worker(worker, now)) for worker in workers if worker.state in IN_FARM]
    alerts = list(
        Alert.objects.filter(
            Q(silenced_until__isnull=True) | Q(silenced_until__lte=now),
            resolved_at__isnull=True,
            acknowledged_at__isnull=True,
        ).select_related("drive", "worker")[: URGENT + 1]
    )
    growth = growths({worker.pk: worker.used_bytes for worker, _ in in_farm}, now)
    drains = progress_of(worker for worker, _ in in_farm)
    todo = _todo(alerts[:URGENT], unwell(URGENT))
    numbers = _numbers(by_health, in_farm, counted, now)
    return Overview(
        sentence=_sentence(by_health, in_farm, len(todo)),
        todo=todo,
        more=max(0, len(alerts) - URGENT),
        numbers=numbers,
        by_health=[(health, HEALTH[health], by_health[health]) for health in WORST_FIRST],
        segments=[(HEALTH[health].tone, by_health[health]) for health in WORST_FIRST],
        workers=[
            WorkerLine(
                worker,
                look,
                room_of(worker),
                drains.get(worker.pk),
                _soon(worker, growth.get(worker.pk), now),
            )
            for worker, look in sorted(in_farm, key=lambda pair: (pair[1].tone == "is-safe", pair[0].name))
        ][:WORKERS],
        pending=[worker for worker in workers if worker.state == Worker.State.PENDING],
        events=events(Event.objects.all(), EVENTS),
        copying=_copying(now),
    )


def _soon(worker: Worker, growth: float | None, now: datetime) -> Forecast | None:
    """When its room is used up, if that is within SOON."""
    found = forecast(worker, growth, now)
    return found if found is not None and found.days <= SOON else None


def events(rows: Any, number: int) -> list[tuple[Event, Look]]:
    """The first `number` rows of a query of events, with their looks."""
    found = rows.select_related("drive", "worker").order_by("-at", "-pk")[:number]
    return [(event, of_event(event.kind, event.severity)) for event in found]


# --- the sentence ------------------------------------------------------------------------------------------


def _sentence(by_health: Mapping[Health, int], workers: Sequence[tuple[Worker, Look]], todo: int) -> Sentence:
    total = sum(by_health.values())
    gone, risk = by_health[Health.UNAVAILABLE], by_health[Health.AT_RISK] + by_health[Health.REWRITTEN]
    copying, waiting = by_health[Health.COPYING], by_health[Health.WAITING]
    needs = f" {units.plural(todo, 'thing')} {'needs' if todo == 1 else 'need'} you." if todo else ""
    if gone:
        title = f"{gone:,} of {units.plural(total, 'drive')} {_is(gone)} unavailable"
        more = f" {risk:,} more {_is(risk)} at risk." if risk else ""
        return Sentence(
            HEALTH[Health.UNAVAILABLE], title, f"No complete copy of {_it(gone)} is online.{more}{needs}"
        )
    if risk:
        title = f"{risk:,} of {units.plural(total, 'drive')} {_is(risk)} at risk"
        kept = "it still has" if risk == 1 else "each still has"
        return Sentence(HEALTH[Health.AT_RISK], title, f"Nothing is lost: {kept} a complete copy.{needs}")
    lost = [worker.name for worker, look in workers if look.tone == "is-fail"]
    if lost:
        named = lost[0] if len(lost) == 1 else f"{len(lost):,} workers"
        title = f"{named} {_is(len(lost))} in trouble; no drive is at risk"
        return Sentence(HEALTH[Health.AT_RISK], title, f"The farm makes missing copies elsewhere.{needs}")
    safe = by_health[Health.SAFE]
    rest = f"{safe:,} {_is(safe)} safe." if safe else "None is safe yet."
    if copying:
        title = f"{copying:,} of {units.plural(total, 'drive')} {_is(copying)} being copied"
        rest = f"{waiting:,} {_is(waiting)} waiting for a publisher. {rest}" if waiting else rest
        return Sentence(HEALTH[Health.COPYING], title, f"{rest}{needs or ' Nothing needs you.'}")
    if waiting:
        title = f"{waiting:,} of {units.plural(total, 'drive')} {_is(waiting)} waiting for a publisher"
        return Sentence(HEALTH[Health.WAITING], title, f"{rest}{needs or ' Nothing needs you.'}")
    title = f"All {total:,} drives are safe" if total > 1 else "The one drive of this farm is safe"
    idle = by_health[Health.PAUSED] + by_health[Health.REMOVING]
    if idle:
        title = (
            f"{by_health[Health.SAFE]:,} of {units.plural(total, 'drive')} are safe, {idle:,} are set aside"
        )
    text = "Each has as many proven copies as it should have at least."
    return Sentence(HEALTH[Health.SAFE], title, f"{text}{needs or ' Nothing needs you.'}")


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _it(number: int) -> str:
    return "it" if number == 1 else "them"


def _todo(alerts: Sequence[Alert], drives: Sequence[Any]) -> list[Todo]:
    found = [
        Todo(
            HEALTH[Health.UNAVAILABLE if alert.severity == "error" else Health.AT_RISK],
            alert.text, alert.hint, alert.drive, alert.worker,
        )
        for alert in alerts
    ]  # fmt: skip
    alerted = {alert.drive_id for alert in alerts}
    for drive in drives:
        if drive.pk not in alerted:
            has = f"{units.plural(drive.counted, 'copy', 'copies')} of at least {drive.replicas_min}"
            text = f"{str(drive)[:200]} is {Health(drive.health).label}: {has}"
            found.append(Todo(HEALTH[drive.health], text, "", drive, None))
    return found


# --- numbers -----------------------------------------------------------------------------------------------


def _numbers(
    by_health: Mapping[Health, int],
    workers: Sequence[tuple[Worker, Look]],
    counted: Mapping[int, Tally],
    now: datetime,
) -> Numbers:
    rest = [f"{by_health[health]:,} {health.label}" for health in WORST_FIRST[:-1] if by_health[health]]
    silent = [worker.name for worker, look in workers if look.word in ("Lost", "Silent")]
    online = len(workers) - len(silent)
    return Numbers(
        drives=sum(by_health.values()),
        safe=by_health[Health.SAFE],
        rest=", ".join(rest[:2]) or "nothing else",
        copies=sum(tally.copies for tally in counted.values()),
        complete=sum(tally.complete for tally in counted.values()),
        proven=sum(tally.proven for tally in counted.values()),
        oldest_proof=oldest_proof(),
        used=sum(worker.used_bytes or 0 for worker, _ in workers),
        room=sum(room_of(worker) for worker, _ in workers),
        served=served(now - DAY),
        workers=len(workers),
        online=online,
        worker_detail=f"{silent[0]} is not heard" if silent else "",
    )


def served(since: datetime) -> float:
    """Return the bytes that all workers sent to peers since a time, as far as samples are kept."""
    rows = Sample.objects.filter(scope=Sample.Scope.WORKER, metric="bytes_up", at__gte=since)
    return float(rows.aggregate(n=Coalesce(Sum("total"), 0.0))["n"])


def _copying(now: datetime) -> list[tuple[Replica, Look]]:
    # First which, then what they are: else the drives of all unfinished copies are read to sort them
    order = ("-grew_at", "-pk")
    rows = Replica.objects.filter(
        desired=True, phase=Replica.Phase.DOWNLOADING, worker__lost_since__isnull=True
    )
    ids = list(rows.order_by(*order).values_list("pk", flat=True)[:COPYING])
    copies = Replica.objects.filter(pk__in=ids).select_related("drive", "worker").order_by(*order)
    return [(copy, of_copy(copy, copy.drive, now)) for copy in copies]
