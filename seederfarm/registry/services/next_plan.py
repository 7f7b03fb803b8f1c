"""What the next plan would do, for pages, the API and the command line.

The planner is in `control`, which stands above the registry: it registers itself here (`provide`), in every
process that runs Django.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Final, Literal, NamedTuple

from ..models import Drive, Worker

LISTED: Final = 1000
"""Moves of each kind that are listed; all are counted. Ours."""
EXAMINED: Final = 20_000
"""Drives that are planned for a page or the API; more are counted. Ours: a second or two."""
KEPT: Final = 10.0
"""Seconds for which `recent` gives the same plan again; longer if it took longer (REST). Ours."""
REST: Final = 15.0
"""`recent` plans a fifteenth of the time at most. Ours."""

What = Literal["assign", "release", "unplaced"]


class Move(NamedTuple):
    """A copy to make or to release, or a drive that finds no worker."""

    what: What
    drive: int
    """Primary key."""
    worker: int | None = None
    """Primary key. None: unplaced."""
    bytes: int = 0
    missing: int = 0
    """Copies that find no worker."""
    reason: str = ""


@dataclass(slots=True)
class NextPlan:
    """The moves that the planner would make, as workers are at `at`."""

    at: datetime
    drives: int = 0
    """Drives that were planned: those that a plan may change."""
    left_out: int = 0
    """Drives beyond the bound, which were not planned."""
    assigned: int = 0
    released: int = 0
    short: int = 0
    """How often a drive found no worker."""
    bytes: int = 0
    """To download, as far as sizes are known."""
    moves: list[Move] = field(default_factory=list)
    """LISTED of each kind."""

    @property
    def not_listed(self) -> int:
        """Moves and missing places beyond `moves`."""
        return self.assigned + self.released + self.short - len(self.moves)


class NamedMove(NamedTuple):
    """A move with what it is about. None: removed since."""

    move: Move
    drive: Drive | None
    worker: Worker | None


class Unavailable(Exception):
    """Another request plans at this moment, and there is no plan yet."""


Planner = Callable[[int | None], NextPlan]
"""Takes the number of drives that are planned at most; None: all."""

_planner: list[Planner] = []
_lock: Final = threading.Lock()
_recent: list[tuple[float, NextPlan]] = []
"""The plan of `recent`, and until when it is given again."""


def provide(planner: Planner) -> None:
    """Called by the app that has the planner, once a process."""
    _planner[:] = [planner]


def next_plan(max_drives: int | None = None) -> NextPlan:
    """Plan now, without a change. `max_drives`: drives that are planned; None: all."""
    return _planner[0](max_drives)


def recent() -> NextPlan:
    """A plan of up to EXAMINED drives that is some seconds old at most.

    One request plans at a time; meanwhile the others get the plan before. Raises Unavailable without one.
    """
    if _recent and monotonic() < _recent[0][0]:
        return _recent[0][1]
    if not _lock.acquire(blocking=False):
        if _recent:
            return _recent[0][1]
        raise Unavailable
    try:
        began = monotonic()
        found = next_plan(EXAMINED)
        took = monotonic() - began
        _recent[:] = [(monotonic() + max(KEPT, REST * took), found)]
        return found
    finally:
        _lock.release()


def clear() -> None:
    """Discard the plan of `recent`, which then plans again."""
    _recent.clear()


def named(moves: Iterable[Move]) -> list[NamedMove]:
    """Moves with their drives and workers. Two queries."""
    moves = list(moves)
    drives = Drive.objects.in_bulk({move.drive for move in moves})
    workers = Worker.objects.defer("host", "engine", "note").in_bulk(
        {move.worker for move in moves if move.worker is not None}
    )
    return [
        NamedMove(move, drives.get(move.drive), None if move.worker is None else workers.get(move.worker))
        for move in moves
    ]
