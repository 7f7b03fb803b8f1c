"""Reads events and changes of states. Synchronous; gives the connection back."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final, Literal

from django.db import connection
from django.db.models import Max, Min
from pydantic import BaseModel, Field

from seederfarm.registry.health_states import Health
from seederfarm.registry.models import Drive, Event, StateChange

from ...streaming import release
from ..shapes import DriveRef, EventShape
from .stable import Position, Seen

ROWS: Final = 500
"""Rows of each kind that are read at once. Ours."""
CHECKED_IDS: Final = 10_000
"""Numbers of rows that are checked for gaps at once. Ours."""


class StateShape(BaseModel):
    """A drive passed from one state into another."""

    at: datetime
    drive: DriveRef
    before: Health
    after: Health


class ChangeShape(BaseModel):
    """A line of the stream."""

    id: str = Field(description="Pass it as `after` to go on behind this line.")
    type: Literal["event", "state", "heartbeat"] = Field(description="Names the field that is there.")
    event: EventShape | None = None
    state: StateShape | None = None


class Page:
    """Some lines, and the position behind them."""

    __slots__ = ("end", "text")

    def __init__(self, text: str, end: Position) -> None:
        self.text = text
        self.end = end


def bounds() -> tuple[Position, Position]:
    """Return the positions of the oldest and the newest rows; 0 without any."""
    first, last = [], []
    for model in (Event, StateChange):
        found = model._default_manager.aggregate(first=Min("pk"), last=Max("pk"))
        first.append(found["first"] or 0)
        last.append(found["last"] or 0)
    return Position(*first), Position(*last)


def check(stable: Position) -> tuple[Seen, Seen]:
    """Return the rows behind the stable ones, of both tables."""
    try:
        oldest = _transaction("xmin")
        events = _ids(Event, stable.event)
        states = _ids(StateChange, stable.state)
        following = _transaction("xmax")
    finally:
        release()
    return Seen(events, oldest, following), Seen(states, oldest, following)


def _ids(model: type[Event | StateChange], after: int) -> list[int]:
    rows = model._default_manager.filter(pk__gt=after).order_by("pk")
    return list(rows.values_list("pk", flat=True)[:CHECKED_IDS])


def _transaction(edge: Literal["xmin", "xmax"]) -> int:
    """SQLite has one writer at a time: numbers appear in order, and no transaction is waited for."""
    if connection.vendor != "postgresql":
        return 1
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT txid_snapshot_{edge}(txid_current_snapshot())")
        return int(cursor.fetchone()[0])


def page(after: Position, until: Position) -> Page:
    """Return the lines behind `after`, up to `until`: ROWS events and changes at most."""
    try:
        rows = Event.objects.filter(pk__gt=after.event, pk__lte=until.event).order_by("pk")
        events = list(rows.select_related("drive", "worker")[:ROWS])
        changes = list(
            StateChange.objects.filter(pk__gt=after.state, pk__lte=until.state).order_by("pk")[:ROWS]
        )
        drives = {
            drive.pk: DriveRef.of(drive)
            for drive in Drive.objects.filter(pk__in={change.drive for change in changes})
        }
    finally:
        release()
    # A table whose rows all were deleted meanwhile is left behind.
    end = Position(
        events[-1].pk if len(events) == ROWS else max(after.event, until.event),
        changes[-1].pk if len(changes) == ROWS else max(after.state, until.state),
    )
    return Page("".join(_lines(after, events, changes, drives)), end)


def _lines(
    after: Position,
    events: Iterable[Event],
    changes: Iterable[StateChange],
    drives: dict[int, DriveRef],
) -> Iterator[str]:
    """By time, each kind in its order. Drives that are removed have no lines."""
    position = after
    rows: list[Iterable[Event | StateChange]] = [events, changes]
    for row in heapq.merge(*rows, key=lambda row: row.at):
        if isinstance(row, Event):
            position = position._replace(event=row.pk)
            yield _line(position, "event", event=EventShape.of(row))
            continue
        position = position._replace(state=row.pk)
        if row.drive in drives:
            state = StateShape(
                at=row.at, drive=drives[row.drive], before=Health(row.before), after=Health(row.after)
            )
            yield _line(position, "state", state=state)


def heartbeat(position: Position) -> str:
    """Return a line that has only the position of the stream."""
    return _line(position, "heartbeat")


def _line(position: Position, kind: Literal["event", "state", "heartbeat"], **given: Any) -> str:
    shape = ChangeShape(id=str(position), type=kind, **given)
    return shape.model_dump_json(exclude=_absent(kind)) + "\n"


def _absent(kind: str) -> set[str]:
    return {"event", "state"} - {kind}
