"""Facts about keys that only events have: errors, titles, when a writer was seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..model.events import CoreChanged, Event, Problem, Synced
from ..seeds.file_counts import Files

MAX_ERROR = 500
"""Characters of an error that are reported."""


@dataclass(slots=True)
class KeyFacts:
    """Facts of one key."""

    cores: dict[bytes, int] = field(default_factory=dict)
    """Core to its length."""
    error: str = ""
    title: str = ""
    attempts: int = 0
    complete: bool = False
    files: Files | None = None
    grown_at: float | None = None
    """When a writer last appended while our copy was complete: it was online."""


class EventFacts:
    """The facts of each key, from its events."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._facts: dict[bytes, KeyFacts] = {}

    def of(self, key: bytes) -> KeyFacts:
        """Return the facts of a key, empty for an unknown one."""
        return self._facts.get(key) or KeyFacts()

    def remove(self, key: bytes) -> None:
        """Drop what is known of a key."""
        self._facts.pop(key, None)

    def set_title(self, key: bytes, title: str) -> None:
        """Set the title of a key's drive."""
        self._facts.setdefault(key, KeyFacts()).title = title

    def set_files(self, key: bytes, files: Files | None) -> None:
        """Set the counts of a key's files, None if they are not known."""
        self._facts.setdefault(key, KeyFacts()).files = files

    def record(self, event: Event) -> None:
        """Keep what an event says of its key."""
        key = getattr(event, "key", None)
        if key is None:
            return
        facts = self._facts.setdefault(key, KeyFacts())
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
