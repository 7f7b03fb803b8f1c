"""What operators make of workers is what the table of `docs/states.md` says."""

from __future__ import annotations

import pytest

from seederfarm.registry.models import Worker
from seederfarm.registry.services import workers
from seederfarm.registry.worker_states import STATE_AFTER, TRANSITIONS, WorkerAction, WorkerState

from .factories import make_worker

pytestmark = pytest.mark.usefixtures("database")

DO = {
    WorkerAction.ACTIVATE: lambda row: workers.activate([row], "cli"),
    WorkerAction.DRAIN: lambda row: workers.drain([row], "cli"),
    WorkerAction.RETIRE: lambda row: workers.retire([row], "cli").retired,
}


def test_every_action_does_what_the_table_says() -> None:
    assert set(TRANSITIONS) == set(WorkerState) and set(DO) == set(WorkerAction) == set(STATE_AFTER)
    for state in WorkerState:
        for action, act in DO.items():
            row = make_worker(state=state)
            expected = TRANSITIONS[state].get(action, state)
            assert act(row) == int(expected is not state), (state, action)
            assert Worker.objects.get(pk=row.pk).state == expected, (state, action)


def test_an_action_leads_to_one_state_from_wherever() -> None:
    for actions in TRANSITIONS.values():
        assert all(STATE_AFTER[action] is state for action, state in actions.items())
