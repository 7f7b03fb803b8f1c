"""What a worker is to the farm, and what an operator can make of it. `docs/states.md` is drawn from this."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from django.db.models import TextChoices


class WorkerState(TextChoices):
    PENDING = "pending", "waiting for approval"
    ACTIVE = "active", "active"
    DRAINING = "draining", "draining"
    """Serves what it has until others have it; gets nothing new."""
    RETIRED = "retired", "retired"
    """No longer part of the farm: its reports are rejected."""


class WorkerAction(StrEnum):
    ACTIVATE = "activate"
    """Approve one that waits, cancel a drain, or admit a retired one again."""
    DRAIN = "drain"
    RETIRE = "retire"


TRANSITIONS: Final[Mapping[WorkerState, Mapping[WorkerAction, WorkerState]]] = {
    WorkerState.PENDING: {
        WorkerAction.ACTIVATE: WorkerState.ACTIVE,
        WorkerAction.DRAIN: WorkerState.DRAINING,
        WorkerAction.RETIRE: WorkerState.RETIRED,
    },
    WorkerState.ACTIVE: {
        WorkerAction.DRAIN: WorkerState.DRAINING,
        WorkerAction.RETIRE: WorkerState.RETIRED,
    },
    WorkerState.DRAINING: {
        WorkerAction.ACTIVATE: WorkerState.ACTIVE,
        WorkerAction.RETIRE: WorkerState.RETIRED,
    },
    WorkerState.RETIRED: {WorkerAction.ACTIVATE: WorkerState.ACTIVE},
}


STATE_AFTER: Final = {action: state for actions in TRANSITIONS.values() for action, state in actions.items()}
"""What an action leads to, from whichever state."""


def states_before(action: WorkerAction) -> list[WorkerState]:
    """The states in which `action` changes anything."""
    return [state for state, actions in TRANSITIONS.items() if action in actions]
