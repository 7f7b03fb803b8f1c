"""Decides how much of a key is kept in memory. Pure: the time is an argument.

A key that is behind is replicated on every connection. When it is complete and idle for a while it rests: it
serves peers that open it, and they report newer versions. Without peers it becomes cold: a record of a few
hundred bytes, until a peer opens it (see `cold`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

REST_AFTER = 10.0
"""Seconds that a complete key is still replicated on every connection: a writer that writes often is about to
continue."""

COLD_AFTER = 10.0
"""Seconds that a resting key stays in memory after its last peer: readers come back."""


class Stage(Enum):
    """How much of a seed is open."""

    ACTIVE = "active"
    """Replicated on every connection."""
    RESTING = "resting"
    """Replicated with peers that open it."""
    COLD = "cold"
    """Not in memory."""


class Step(Enum):
    """An input of the stage machine: what happens to a seed."""

    ADD = "add"
    LOAD = "load"
    """Added, and everything in its record is in the store."""
    BEHIND = "behind"
    """Peers have more of it, or something is left to do."""
    IDLE = "idle"
    """Nothing was left to do for REST_AFTER, or in addition no peer used it for COLD_AFTER."""
    WAKE = "wake"
    """It is about to be used."""
    REMOVE = "remove"


TRANSITIONS: Final[Mapping[Stage | None, Mapping[Step, Stage | None]]] = {
    None: {Step.ADD: Stage.ACTIVE, Step.LOAD: Stage.COLD},
    Stage.ACTIVE: {Step.BEHIND: Stage.ACTIVE, Step.IDLE: Stage.RESTING, Step.REMOVE: None},
    Stage.RESTING: {Step.BEHIND: Stage.ACTIVE, Step.IDLE: Stage.COLD, Step.REMOVE: None},
    Stage.COLD: {Step.WAKE: Stage.RESTING, Step.REMOVE: None},
}
"""All that can happen to a seed. None: the engine does not have it."""


def after(stage: Stage | None, step: Step) -> Stage | None:
    """Return the stage after `step`. Raises ValueError if it is not in the table."""
    if step not in TRANSITIONS[stage]:
        raise ValueError(f"{step.value!r} of a seed that is {'not there' if stage is None else stage.value}")
    return TRANSITIONS[stage][step]


class StageMachine:
    """The stage of one key that is in memory."""

    __slots__ = ("_since", "_stage")

    def __init__(self, *, woken: bool = False) -> None:
        """`woken`: it was cold."""
        self._stage = after(Stage.COLD, Step.WAKE) if woken else after(None, Step.ADD)
        self._since: float | None = None
        """Since when the condition for the next stage has held."""

    @property
    def stage(self) -> Stage:
        """The current stage."""
        assert self._stage is not None  # no step of this class removes it
        return self._stage

    def step(self, *, idle: bool, peers: int, now: float) -> Stage:
        """Advance to and return the current stage. `idle`: nothing is left to do, as far as peers
        report. Raises ValueError if it is cold."""
        if not idle and self._stage is Stage.ACTIVE:
            self._since = None  # the most frequent case: Step.BEHIND changes nothing else
        elif not idle:
            self._move(Step.BEHIND)
        elif self._stage is Stage.ACTIVE:
            self._wait(REST_AFTER, now)
        elif peers:
            self._since = None
        else:
            self._wait(COLD_AFTER, now)
        return self.stage

    def wake(self) -> None:
        """It is cold, and was not put away. Raises ValueError if it is not cold."""
        self._move(Step.WAKE)

    def _wait(self, seconds: float, now: float) -> None:
        if self._since is None:
            self._since = now
        if now >= self._since + seconds:
            self._move(Step.IDLE)

    def _move(self, step: Step) -> None:
        self._stage, self._since = after(self._stage, step), None

    def next_deadline(self) -> float | None:
        """Return when `step` may advance by time alone."""
        if self._since is None:
            return None
        return self._since + (REST_AFTER if self._stage is Stage.ACTIVE else COLD_AFTER)
