"""How much of a key is kept in memory. Pure: the time is an argument.

A key that is behind is replicated on every connection. When it is complete and idle for a while it rests: it
serves peers that open it, and they report newer versions. Without peers it becomes cold: a record of a few
hundred bytes, until a peer opens it (see `cold`).
"""

from __future__ import annotations

from enum import Enum, auto

REST_AFTER = 10.0
"""Seconds that a complete key is still replicated on every connection: a writer that writes often is about to
continue."""

COLD_AFTER = 10.0
"""Seconds that a resting key stays in memory after its last peer: readers come back."""


class Stage(Enum):
    ACTIVE = auto()
    """Replicated on every connection."""
    RESTING = auto()
    """Replicated with peers that open it."""
    COLD = auto()
    """Not in memory."""


class StageMachine:
    """Of one key that is in memory."""

    __slots__ = ("_since", "stage")

    def __init__(self, stage: Stage = Stage.ACTIVE) -> None:
        self.stage = stage
        self._since: float | None = None
        """Since when the condition for the next stage has held."""

    def step(self, *, settled: bool, peers: int, now: float) -> Stage:
        """Advance to and return the current stage. `settled`: nothing is left to do, as far as peers
        report."""
        if not settled:
            self.stage, self._since = Stage.ACTIVE, None
        elif self.stage is Stage.ACTIVE:
            self._wait(REST_AFTER, Stage.RESTING, now)
        elif peers:
            self._since = None
        else:
            self._wait(COLD_AFTER, Stage.COLD, now)
        return self.stage

    def _wait(self, seconds: float, then: Stage, now: float) -> None:
        if self._since is None:
            self._since = now
        if now >= self._since + seconds:
            self.stage, self._since = then, None

    def next_deadline(self) -> float | None:
        """When `step` may advance by time alone."""
        if self._since is None:
            return None
        return self._since + (REST_AFTER if self.stage is Stage.ACTIVE else COLD_AFTER)
