"""What control and reports make of copies is what the table of `docs/states.md` says, in every state."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from farmwire.report import Phase
from seederfarm.control.messaging import assignments
from seederfarm.control.reconcile import apply
from seederfarm.control.reports import ingest
from seederfarm.placement.model import Assign, Release, ReleaseReason
from seederfarm.registry.models import Drive, Replica
from seederfarm.registry.replica_states import (
    GROUPS,
    LABELS,
    TRANSITIONS,
    DesiredPhase,
    ImpossibleStep,
    ReplicaStep,
    after,
)

from ..registry.factories import make_drive
from .fakes import FakeBroker, FakeWorker, copy_of

LONG = timedelta(days=1)
STATES = (None, *(DesiredPhase(desired, phase) for desired in (True, False) for phase in Phase))
CONTROL = [step for step in ReplicaStep if step is not ReplicaStep.REPORT]


def act(step: ReplicaStep, drive: Drive, worker: FakeWorker, now: datetime) -> None:
    """Have control do a step to the copy, whatever its state is."""
    release = Release(drive.pk, worker.row.pk, ReleaseReason.REMOVED)
    match step:
        case ReplicaStep.ASSIGN:
            apply.assign([Assign(drive.pk, worker.row.pk, 0)], now)
        case ReplicaStep.RELEASE:
            apply.release([release], now)
        case ReplicaStep.CONFIRM:
            sent = assignments.send_assignment(worker.row.pk, now)
            assert sent is not None
            assert assignments.check_assignment(worker.row, sent.version, sent.digest, now + LONG)
        case ReplicaStep.RETIRE:
            apply.delete([release])


def state_of(drive: Drive) -> DesiredPhase | None:
    row = Replica.objects.filter(drive=drive).first()
    return None if row is None else DesiredPhase(row.desired, Phase(row.phase))


def make(state: DesiredPhase | None, worker: FakeWorker, now: datetime) -> Drive:
    drive = make_drive()
    if state is not None:
        Replica.objects.create(
            drive=drive, worker=worker.row, desired=state.desired, phase=state.phase,
            released_at=None if state.desired else now,
        )  # fmt: skip
    return drive


@pytest.mark.parametrize("step", CONTROL)
def test_control_does_what_the_table_says_and_leaves_the_rest(
    farm: FakeBroker, now: datetime, step: ReplicaStep
) -> None:
    worker = FakeWorker("anna", now=now)
    drives = {state: make(state, worker, now) for state in STATES}
    for state, drive in drives.items():
        act(step, drive, worker, now)
        expected = after(state, step) if step in TRANSITIONS[state] else state
        assert state_of(drive) == expected, state


def test_a_report_does_what_the_table_says_and_an_impossible_one_nothing(
    farm: FakeBroker, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    worker, impossible = FakeWorker("anna", now=now), 0
    for state in STATES:
        for phase in Phase:
            drive = make(state, worker, now)
            caplog.clear()
            found = worker.send_report(now, copy_of(drive.key, phase, now))
            targets = TRANSITIONS[state].get(ReplicaStep.REPORT, ())
            removed = None if state is None or not state.desired else DesiredPhase(True, Phase.REMOVED)
            wanted = removed if phase is Phase.REMOVED else DesiredPhase(bool(state and state.desired), phase)
            if wanted in targets:
                assert (found, state_of(drive)) == (ingest.IngestResult(applied=1), wanted), (state, phase)
                continue
            assert state_of(drive) == state, (state, phase)
            if state is None:
                assert found == ingest.IngestResult(unassigned=1)
                continue
            impossible += 1
            assert found == ingest.IngestResult(impossible=1), (state, phase)
            assert Replica.objects.get(drive=drive).last_report_at is None
            assert "1 impossible reports are ignored" in caplog.text
    assert impossible == 2 * len(GROUPS["kept"])


def test_many_impossible_reports_are_one_line(
    farm: FakeBroker, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    worker = FakeWorker("anna", now=now)
    drives = [make(DesiredPhase(False, Phase.REMOVING), worker, now) for _ in range(20)]
    assert (
        worker.send_report(now, *(copy_of(drive.key, "complete", now) for drive in drives)).impossible == 20
    )
    assert [record.getMessage() for record in caplog.records if "impossible" in record.message] == [
        "anna: 20 impossible reports are ignored: 'report complete' of a copy that is released removing"
    ]


def test_every_state_is_reached_and_every_one_can_end() -> None:
    def closure(
        first: DesiredPhase | None, on: Callable[[DesiredPhase | None], set[DesiredPhase | None]]
    ) -> set[DesiredPhase | None]:
        reached, new = set(), {first}
        while new:
            reached |= new
            new = {target for state in new for target in on(state)} - reached
        return reached

    def leads(state: DesiredPhase | None) -> set[DesiredPhase | None]:
        return {target for targets in TRANSITIONS[state].values() for target in targets}

    assert set(TRANSITIONS) == set(STATES) == closure(None, leads)
    assert all(None in closure(state, leads) for state in STATES)
    assert {state.phase for state in STATES if state is not None} == set(Phase)
    assert list(LABELS) == [phase.value for phase in Phase]


@pytest.mark.parametrize(
    ("state", "step"),
    [
        (None, ReplicaStep.RELEASE),
        (DesiredPhase(True, Phase.COMPLETE), ReplicaStep.ASSIGN),
        (DesiredPhase(True, Phase.COMPLETE), ReplicaStep.CONFIRM),
        (DesiredPhase(False, Phase.COMPLETE), ReplicaStep.RELEASE),
    ],
)
def test_a_step_that_is_not_in_the_table_is_refused(state: DesiredPhase | None, step: ReplicaStep) -> None:
    with pytest.raises(ImpossibleStep, match=step):
        after(state, step)
