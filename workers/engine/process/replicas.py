"""Reports of keys to the parent: phase, amounts, errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from farmwire.message import to_builtins
from farmwire.report import Phase, ReplicaFacts, ReplicaStatus

from ..model.events import CoreChanged, Event, Problem, Synced
from ..model.status import SeedStatus, State

PHASES = {
    State.LOOKING: Phase.LOOKING,
    State.ASKING: Phase.LOOKING,
    State.WAITING: Phase.LOOKING,
    State.DOWNLOADING: Phase.DOWNLOADING,
    State.FLUSHING: Phase.DOWNLOADING,
    State.CHECKING: Phase.DOWNLOADING,
    State.SYNCED: Phase.COMPLETE,
    State.HELD: Phase.ERROR,
    State.TOO_LARGE: Phase.ERROR,
    State.FAILED: Phase.ERROR,
}
FIELDS = ReplicaFacts.__struct_fields__

MAX_ERROR = 500
"""Characters of an error that are reported."""


@dataclass(slots=True)
class _Facts:
    """Facts from events that a key's status lacks."""

    cores: dict[bytes, int] = field(default_factory=dict)
    """Core to its length."""
    error: str = ""
    title: str = ""
    attempts: int = 0
    complete: bool = False
    grown_at: float | None = None
    """When a writer last appended while our copy was complete: it was online."""
    reported: tuple[object, ...] = ()


class Replicas:
    """Takes events and statuses; returns changed reports."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._facts: dict[bytes, _Facts] = {}

    def forget(self, key: bytes) -> None:
        self._facts.pop(key, None)

    def call(self, key: bytes, title: str) -> None:
        """Set a drive's title."""
        self._facts.setdefault(key, _Facts()).title = title

    def note(self, event: Event) -> None:
        key = getattr(event, "key", None)
        if key is None:
            return
        facts = self._facts.setdefault(key, _Facts())
        if isinstance(event, CoreChanged):
            if facts.complete and event.length > facts.cores.get(event.core, 0):
                facts.grown_at = self._clock()
            facts.cores[event.core] = event.length
        elif isinstance(event, Problem):
            facts.error = f"{event.code}: {event.message}"[:MAX_ERROR]
            facts.attempts += 1
        elif isinstance(event, Synced):
            facts.complete = True
            facts.error = ""

    def changes(
        self, statuses: tuple[SeedStatus, ...], *, everything: bool = False, no_room: str = ""
    ) -> list[dict[str, Any]]:
        """Reports that changed since the last call. `no_room` is the error text of seeds stopped by the disk
        limit."""
        news = []
        for status in statuses:
            facts = self._facts.setdefault(status.key, _Facts())
            full = replace(
                status,
                error=facts.error,
                attempts=facts.attempts,
                title=facts.title,
                writer_seen_at=facts.grown_at,
            )
            reported = (full.state, full.kind, *(getattr(full, name) for name in FIELDS))
            if reported != facts.reported or everything:
                facts.reported = reported
                held = status.state is State.HELD
                news.append(_to_json(replace(full, error=no_room[:MAX_ERROR]) if held else full))
        return news


def _to_json(status: SeedStatus) -> dict[str, Any]:
    return to_builtins(
        ReplicaStatus(
            key=status.key.hex(),
            phase=PHASES[status.state],
            kind=None if status.kind is None else status.kind.value,
            **{name: getattr(status, name) for name in FIELDS},
        )
    )
