"""How much of a key is kept in memory. Pure: the time is an argument.

A key that is behind is replicated with everybody. Once it has all and nothing has happened for a while it
rests: it serves those who ask, and hears from them when there is more. When nobody asks it is put away, and a
record of a few hundred bytes stands for it until somebody does (see `cold`).
"""

from __future__ import annotations

from enum import Enum, auto

REST_AFTER = 10.0
"""Seconds that a key which has all is still replicated with everybody: whoever writes often is about to go
on."""

COLD_AFTER = 10.0
"""Seconds that a resting key stays in memory after its last peer: readers come back."""


class Stage(Enum):
    ACTIVE = auto()
    """Replicated with everybody."""
    RESTING = auto()
    """Replicated with those who ask."""
    COLD = auto()
    """Not in memory."""


class StageMachine:
    """Of one key that is in memory."""

    __slots__ = ("_since", "stage")

    def __init__(self, stage: Stage = Stage.ACTIVE) -> None:
        self.stage = stage
        self._since: float | None = None
        """Since when what leads to the next stage has lasted."""

    def step(self, *, settled: bool, peers: int, now: float) -> Stage:
        """The stage it is in from now on. `settled`: it has all there is, as far as anybody says."""
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
        """When `step` may lead on without anything else having changed."""
        if self._since is None:
            return None
        return self._since + (REST_AFTER if self.stage is Stage.ACTIVE else COLD_AFTER)
