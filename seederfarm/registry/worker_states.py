"""States of a worker, and the actions of operators that change them; drawn in `docs/states.md`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from django.db.models import TextChoices


class WorkerState(TextChoices):
    """Membership of a worker."""

    PENDING = "pending", "waiting for approval"
    ACTIVE = "active", "active"
    DRAINING = "draining", "draining"
    """It serves its copies until others have them, and gets no new ones."""
    RETIRED = "retired", "retired"
    """It is no longer a member: its reports are rejected."""


class WorkerAction(StrEnum):
    """What an operator does to a worker."""

    ACTIVATE = "activate"
    """Approve a waiting worker, cancel a drain, or readmit a retired worker."""
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
"""The state after each action, from any state."""


def states_before(action: WorkerAction) -> list[WorkerState]:
    """The states in which `action` changes anything."""
    return [state for state, actions in TRANSITIONS.items() if action in actions]
