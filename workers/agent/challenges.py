"""Challenges of control that were not answered yet: they wait for an engine that knows its keys."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from farmwire.audit import Challenge

MAX_CHALLENGES = 1000
"""Challenges that wait. The oldest go first: their deadline is nearest."""


class Challenges:
    """Any thread may call any method. `ask(engine, challenge)` hands one to the engine of that number."""

    def __init__(self, ask: Callable[[int, Challenge], None]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[int, Challenge]] = {}
        self._ready: set[int] = set()
        """Engines that were told their keys."""

    def add(self, engine: int, challenge: Challenge) -> None:
        """One whose deadline has passed is dropped: without an answer it is late, which is true."""
        if challenge.deadline < time.time():
            return
        with self._lock:
            self._waiting[challenge.id] = (engine, challenge)
            while len(self._waiting) > MAX_CHALLENGES:
                self._waiting.pop(next(iter(self._waiting)))
            ready = engine in self._ready
        if ready:
            self._ask(engine, challenge)

    def engine_ready(self, engine: int) -> None:
        """It was told its keys: ask it what is not answered."""
        now = time.time()
        with self._lock:
            self._ready.add(engine)
            self._waiting = {name: each for name, each in self._waiting.items() if each[1].deadline > now}
            waiting = [challenge for number, challenge in self._waiting.values() if number == engine]
        for challenge in waiting:
            self._ask(engine, challenge)

    def engine_ended(self, engine: int) -> None:
        """It answers nothing from now on: the next one is asked again."""
        with self._lock:
            self._ready.discard(engine)

    def answered(self, name: str) -> bool:
        """Whether an answer to this one is still wanted; it is not from now on."""
        with self._lock:
            return self._waiting.pop(name, None) is not None
