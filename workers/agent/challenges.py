"""Unanswered challenges of control: they wait until an engine has its keys."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from farmwire.audit import Challenge

MAX_CHALLENGES = 1000
"""Challenges that wait. The oldest are dropped first: their deadline is nearest."""


class Challenges:
    """Any thread may call any method. `ask(engine, challenge)` passes one to the engine of that number."""

    def __init__(self, ask: Callable[[int, Challenge], None]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[int, Challenge]] = {}
        self._ready: set[int] = set()
        """Engines that have their keys."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, engine: int, challenge: Challenge) -> None:
        """Challenges past their deadline are dropped: without an answer they are late, which is true."""
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
        """The engine has its keys: pass it the unanswered challenges."""
        now = time.time()
        with self._lock:
            self._ready.add(engine)
            self._waiting = {name: each for name, each in self._waiting.items() if each[1].deadline > now}
            waiting = [challenge for number, challenge in self._waiting.values() if number == engine]
        for challenge in waiting:
            self._ask(engine, challenge)

    def engine_ended(self, engine: int) -> None:
        """The engine ended: its challenges wait for the next one."""
        with self._lock:
            self._ready.discard(engine)

    def answered(self, name: str) -> bool:
        """Whether the answer to this challenge is still wanted. Removes the challenge."""
        with self._lock:
            return self._waiting.pop(name, None) is not None
