"""States as pages show them: word, shape and colour, always all three. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from seederfarm.registry.health import Health, counts, serves
from seederfarm.registry.models import Drive, Replica, Worker
from seederfarm.registry.models.history import Severity


class Look(NamedTuple):
    """The look of a state: colour, symbol and word always appear together."""

    tone: str
    """Class that sets the colours: is-safe, is-work, is-wait, is-risk, is-fail, is-idle."""
    shape: str
    """Symbol `#s-…` of icons.svg."""
    word: str
    note: str = ""
    """A few words more, where there is room."""


HEALTH: Final[Mapping[str, Look]] = {
    Health.SAFE: Look("is-safe", "safe", "Safe", "enough proven copies"),
    Health.COPYING: Look("is-work", "work", "Copying", "on the way"),
    Health.WAITING: Look("is-wait", "wait", "Waiting", "no publisher met yet"),
    Health.AT_RISK: Look("is-risk", "risk", "At risk", "fewer copies than wanted"),
    Health.UNAVAILABLE: Look("is-fail", "fail", "Unavailable", "no complete copy is online"),
    Health.REWRITTEN: Look("is-risk", "ask", "Rewritten", "copies keep the old history"),
    Health.PAUSED: Look("is-idle", "paused", "Paused", "kept as they are"),
    Health.REMOVING: Look("is-idle", "gone", "Removing", "copies are being deleted"),
}
SEVERITY: Final[Mapping[str, Look]] = {
    Severity.INFO: Look("is-idle", "dot", "info"),
    Severity.WARNING: Look("is-risk", "risk", "warning"),
    Severity.ERROR: Look("is-fail", "fail", "error"),
}
_GOOD_EVENTS: Final = ("replica.complete", "worker.returned")
_WORK_EVENTS: Final = ("replica.assigned", "replica.downloading")


def of_event(kind: str, severity: str) -> Look:
    """The look of an event. Good ones and work in progress look different."""
    if severity == Severity.INFO and kind in _GOOD_EVENTS:
        return Look("is-safe", "safe", "good")
    if severity == Severity.INFO and kind in _WORK_EVENTS:
        return Look("is-work", "work", "at work")
    return SEVERITY.get(severity, SEVERITY[Severity.INFO])


def of_worker(worker: Worker, now: datetime) -> Look:
    """Return the look of a worker at `now`: that of the worst of its states."""
    match worker.state:
        case Worker.State.PENDING:
            return Look("is-wait", "ask", "Wants to join")
        case Worker.State.RETIRED:
            return Look("is-idle", "gone", "Retired")
        case _ if worker.lost_since is not None:
            return Look("is-fail", "fail", "Lost", "drives that need its copies get others")
        case _ if not worker.is_online(now):
            return Look("is-idle", "silent", "Silent", "gets nothing new")
        case _ if worker.engine.get("hung"):
            return Look("is-fail", "fail", "Engine hung")
        case _ if worker.engine and not worker.engine.get("running"):
            return Look("is-fail", "fail", "Engine down")
        case _ if worker.paused:
            return Look("is-idle", "paused", "Paused")
        case Worker.State.DRAINING:
            return Look("is-work", "drain", "Draining", "serves until others have its copies")
    return Look("is-safe", "safe", "Online")


def of_copy(copy: Replica, drive: Drive, now: datetime) -> Look:
    """Return the look of a copy with its worker."""
    phase = copy.phase
    if not copy.desired or phase in (Replica.Phase.REMOVING, Replica.Phase.REMOVED):
        return Look("is-idle", "gone", "Removing")
    if not serves(copy.worker):
        return Look("is-idle", "silent", "Not counted", _why_not_served(copy.worker))
    if copy.proof_failures:
        times = {1: "once", 2: "twice"}.get(copy.proof_failures, f"{copy.proof_failures} times")
        return Look("is-risk", "risk", "Wrong proof", f"{times} in a row")
    if phase == Replica.Phase.ERROR:
        return Look("is-fail", "fail", "Error", copy.error)
    if phase == Replica.Phase.DOWNLOADING:
        return Look("is-work", "work", "Copying")
    if phase != Replica.Phase.COMPLETE:
        return Look("is-wait", "wait", "Looking for peers")
    if counts(copy, drive, now):
        return Look("is-safe", "safe", "Complete", "all that is left" if copy.unavailable_blocks else "")
    if copy.is_proof_pending:
        return Look("is-work", "work", "Complete", "proof pending")
    if copy.length < (drive.length or 0) or copy.fork < (drive.fork or 0):
        return Look("is-work", "work", "Older version", f"{copy.length:,} of {drive.length:,}")
    return Look("is-wait", "wait", "Complete", "last proof too old" if copy.length else "nothing in it yet")


def _why_not_served(worker: Worker) -> str:
    if worker.lost_since is not None:
        return "its worker is lost"
    return "its worker is paused" if worker.paused else "its worker is not in the farm"
