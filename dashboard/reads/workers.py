"""Workers, and one of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from seederfarm.registry.blind_clients import ClientUse, clients_with_use
from seederfarm.registry.drift import has_drifted, ours
from seederfarm.registry.growth import growths
from seederfarm.registry.mirrors import Mirror, mirror_of
from seederfarm.registry.models import Alert, Replica, Worker
from seederfarm.registry.services.alert_rules import what_to_do
from seederfarm.registry.services.drains import DrainProgress, recent_progress
from seederfarm.registry.tallies import tallies, with_tallies
from workers import units

from .drains import MAX_DRAINED, progress_of
from .farm import IN_FARM, Sentence, events
from .looks import SEVERITY, Look, of_copy, of_worker
from .network import Network, Reach, network_of, reach_of
from .room import Forecast, forecast, room_of

WRONG: Final = {
    "Lost": "is lost",
    "Engine hung": "has an engine that hangs",
    "Engine down": "has no running engine",
}
"""By the word of a worker's look, the clause of the sentence about workers that do not serve."""
COPIES: Final = 25
"""Copies that a worker's page lists: those first that are not complete."""
EVENTS: Final = 20
ALERTS: Final = 10
"""Open alerts that a worker's page lists, the newest first. Ours."""
CLIENTS: Final = 10
"""Clients of its blind peer that a worker's page lists. Ours."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker in the list. Sizes are in bytes."""

    worker: Any
    """With `copies` and `complete`."""
    look: Look
    room: int
    network: Network
    is_stale: bool
    """Its numbers are from before it fell silent."""
    forecast: Forecast | None
    drain: DrainProgress | None = None
    """The progress of its drain, if it is being drained."""
    newer: str = ""
    """The version that the farm has; empty: the worker has it too, or is in no farm."""


@dataclass(frozen=True, slots=True)
class WorkerList:
    """What `/workers/` shows."""

    sentence: Sentence
    rows: list[WorkerRow]
    pending: list[Worker]
    retired: int
    used: int
    room: int
    copies: int
    complete: int
    up: float
    peers: int
    zones: int


@dataclass(frozen=True, slots=True)
class WorkerPage:
    """What the page of a worker shows."""

    row: WorkerRow
    sentence: Sentence
    alerts: list[tuple[Alert, Look, str]]
    """Its open alerts, each with what a person can do."""
    copies: list[tuple[Replica, Look]]
    events: list[Any]
    drain: DrainProgress | None
    reach: Reach | None
    """None: not reported, or the worker is not heard."""
    mirror: Mirror | None
    """Its blind peer, if it is one."""
    clients: list[ClientUse]
    """The clients of it with most cores."""


def listed(now: datetime, *, retired: bool) -> WorkerList:
    """Return the list of workers. Four queries."""
    workers = with_tallies(Worker.objects.order_by("name"), tallies(now))
    growth = growths({worker.pk: worker.used_bytes for worker in workers if worker.state in IN_FARM}, now)
    drains = progress_of(workers)
    every = [
        replace(_row(worker, growth.get(worker.pk), now), drain=drains.get(worker.pk)) for worker in workers
    ]
    here = [row for row in every if row.worker.state in IN_FARM]
    gone = [row for row in every if row.worker.state == Worker.State.RETIRED]
    online = [row for row in here if not row.is_stale]
    return WorkerList(
        sentence=_sentence(here),
        rows=sorted(gone if retired else here, key=lambda row: row.look.tone == "is-safe"),
        pending=[row.worker for row in every if row.worker.state == Worker.State.PENDING],
        retired=len(gone),
        used=sum(row.worker.used_bytes or 0 for row in here),
        room=sum(row.room for row in here),
        copies=sum(row.worker.copies for row in here),
        complete=sum(row.worker.complete for row in here),
        up=sum(float(row.worker.engine.get("up_per_second", 0)) for row in online),
        peers=sum(int(row.worker.engine.get("connections", 0)) for row in online),
        zones=len({row.worker.zone or row.worker.name for row in here}),
    )


def one(worker: Any, now: datetime) -> WorkerPage:
    """Return the data of the page of a worker with its load. Eight queries; that of a drain once a minute."""
    row = _row(worker, growths({worker.pk: worker.used_bytes}, now).get(worker.pk), now)
    # First which, then what they are: else the drives of all copies are read to sort them
    order = ("proven", "-grew_at", "-pk")
    ids = list(Replica.objects.filter(worker=worker).order_by(*order).values_list("pk", flat=True)[:COPIES])
    copies = Replica.objects.filter(pk__in=ids).select_related("drive", "worker").order_by(*order)
    open_alerts = Alert.objects.filter(worker=worker, resolved_at__isnull=True).order_by("-pk")[:ALERTS]
    moves = worker.state in IN_FARM and 0 < worker.copies <= MAX_DRAINED
    return WorkerPage(
        row=row,
        sentence=_about(row, now),
        alerts=[(alert, SEVERITY[alert.severity], what_to_do(alert)) for alert in open_alerts],
        copies=[(copy, of_copy(copy, copy.drive, now)) for copy in copies],
        events=events(worker.events.all(), EVENTS),
        drain=recent_progress(worker.pk) if moves else None,
        reach=None if row.is_stale else reach_of(worker.engine),
        mirror=mirror_of(worker, now),
        clients=clients_with_use(CLIENTS, worker),
    )


def _row(worker: Any, growth: float | None, now: datetime) -> WorkerRow:
    look = of_worker(worker, now)
    stale = look.word in ("Lost", "Silent") or worker.last_seen_at is None
    full = forecast(worker, growth, now) if worker.state in IN_FARM else None
    network = network_of(worker.engine, in_farm=worker.state in IN_FARM, is_stale=stale)
    newer = ours() if worker.state in IN_FARM and has_drifted(worker) else ""
    return WorkerRow(worker, look, room_of(worker), network, stale, full, newer=newer)


def _sentence(rows: list[WorkerRow]) -> Sentence:
    total, online = len(rows), sum(not row.is_stale for row in rows)
    wrong = [row for row in rows if row.look.tone == "is-fail"]
    if not rows:
        return Sentence(
            Look("is-risk", "risk", "No worker"), "No worker is in the farm",
            "Without one nothing is copied: make a token in the admin and start one with it.",
        )  # fmt: skip
    if wrong:
        wrong.sort(key=lambda row: row.look.word != "Lost")
        first, more = wrong[0], len(wrong) - 1
        others = f", {more:,} more {'does' if more == 1 else 'do'} not serve" if more else ""
        return Sentence(
            Look("is-risk", "risk", "At risk"),
            f"{online:,} of {units.plural(total, 'worker')} are online; "
            f"{first.worker.name} {WRONG[first.look.word]}{others}",
            "Copies of a lost worker are made again elsewhere. If it comes back before, nothing is wasted."
            if first.look.word == "Lost"
            else "Its copies are not served until its engine runs again; the worker starts it by itself.",
        )
    if online < total:
        return Sentence(
            Look("is-idle", "silent", "Silent"),
            f"{online:,} of {units.plural(total, 'worker')} are online",
            "A silent worker gets nothing new; after some minutes drives that need its copies get others.",
        )
    title = "The only worker is online" if total == 1 else f"All {total:,} workers are online"
    alone = "A second one, elsewhere, would keep drives when this machine is gone." if total == 1 else ""
    drifted = [row for row in rows if row.newer]
    if drifted:
        subject = drifted[0].worker.name if len(drifted) == 1 else units.plural(len(drifted), "worker")
        alone = (
            f"{subject} {'runs' if len(drifted) == 1 else 'run'} another version than the farm, {ours()}. "
            "The command of `worker enroll` updates a worker, one after the other."
        )
    return Sentence(Look("is-safe", "safe", "Online"), title, alone or "Nothing needs you.")


def _about(row: WorkerRow, now: datetime) -> Sentence:
    worker, look = row.worker, row.look
    copies = f"{units.plural(worker.copies, 'copy', 'copies')}, {worker.complete:,} complete."
    heard = "never heard" if worker.last_seen_at is None else (
        f"last heard {units.format_age((now - worker.last_seen_at).total_seconds())}"
    )  # fmt: skip
    if look.tone == "is-safe":
        full = f", with room for {row.forecast.takes}" if row.forecast else ""
        return Sentence(look, f"Online and healthy{full}", f"{copies} It was {heard}.")
    return Sentence(look, f"{look.word}, {heard}", f"{copies} {look.note[:1].upper()}{look.note[1:]}".strip())
