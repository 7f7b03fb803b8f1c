"""Counts messages and commands that this process rejected and has not reported yet. Imports no Django."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import Final

MAX_KINDS: Final = 64
"""Kinds that are counted separately; more are counted together."""
OTHERS: Final = "others"


class Counts:
    """Counters by kind. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._count: Counter[str] = Counter()

    def add(self, *what: str) -> None:
        """Count a message under `kind: reason`. After MAX_KINDS different ones, others count together. Any
        thread."""
        kind = ": ".join(what)
        with self._lock:
            self._count[kind if kind in self._count or len(self._count) < MAX_KINDS else OTHERS] += 1

    def take(self) -> dict[str, int]:
        """Return the numbers counted since the last call, by kind. Any thread may call it."""
        with self._lock:
            taken, self._count = dict(self._count), Counter()
        return taken


refused_commands: Final = Counts()
"""Celery's remote-control commands that were refused here."""
rejected_messages: Final = Counts()
"""Messages dropped before Celery saw them, by queue and reason."""
