"""States of a copy of a drive on a worker, and their transitions; drawn in `docs/states.md`.

Control assigns and releases; the worker reports phases. Reports may be lost and messages to workers take
time, so a report may lead from any phase of a desired copy to any other. A released copy that is being
removed is kept again only if it is assigned again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from farmwire.report import Phase

LABELS: Final = {
    Phase.ASSIGNED.value: "assigned",
    Phase.LOOKING.value: "looking for peers",
    Phase.DOWNLOADING.value: "downloading",
    Phase.COMPLETE.value: "complete",
    Phase.ERROR.value: "error",
    Phase.REMOVING.value: "being removed",
    Phase.REMOVED.value: "removed",
}
"""Phases in words for people."""

KEPT: Final = (Phase.ASSIGNED, Phase.LOOKING, Phase.DOWNLOADING, Phase.COMPLETE, Phase.ERROR)
"""Phases of a copy that the worker keeps."""


@dataclass(frozen=True, slots=True)
class DesiredPhase:
    """Whether control wants the copy, and what its worker does with it."""

    desired: bool
    phase: Phase

    def __str__(self) -> str:
        return self.phase if self.desired else f"released {self.phase}"


class ReplicaStep(StrEnum):
    """What happens to a copy."""

    ASSIGN = "assign"
    REPORT = "report"
    """The worker reports a phase."""
    RELEASE = "release"
    CONFIRM = "confirm"
    """The worker has the assignment without it, and has reported nothing more of it for a while."""
    RETIRE = "retire"
    """Its worker is retired: no report will come."""


class ImpossibleStep(ValueError):
    """A step that TRANSITIONS does not have."""


_DESIRED: Final = {phase: DesiredPhase(True, phase) for phase in Phase}
_RELEASED: Final = {phase: DesiredPhase(False, phase) for phase in Phase}
_ASSIGNED: Final = (_DESIRED[Phase.ASSIGNED],)


def _of_released(phase: Phase) -> Mapping[ReplicaStep, tuple[DesiredPhase | None, ...]]:
    kept = tuple(_RELEASED[each] for each in KEPT) if phase in KEPT else ()
    return {
        ReplicaStep.ASSIGN: _ASSIGNED,
        # Reported as removed, it is deleted.
        ReplicaStep.REPORT: (*kept, _RELEASED[Phase.REMOVING], None),
        ReplicaStep.CONFIRM: (None,),
        ReplicaStep.RETIRE: (None,),
    }


TRANSITIONS: Final[Mapping[DesiredPhase | None, Mapping[ReplicaStep, tuple[DesiredPhase | None, ...]]]] = {
    None: {ReplicaStep.ASSIGN: _ASSIGNED},
    **{
        _DESIRED[phase]: {
            ReplicaStep.REPORT: tuple(_DESIRED.values()),
            ReplicaStep.RELEASE: (_RELEASED[phase],),
        }
        for phase in Phase
    },
    **{_RELEASED[phase]: _of_released(phase) for phase in Phase},
}
"""All transitions of a copy. None: there is none."""

GROUPS: Final[Mapping[str, tuple[DesiredPhase, ...]]] = {
    "kept": tuple(_DESIRED[phase] for phase in KEPT),
    "released": tuple(_RELEASED[phase] for phase in KEPT),
}
"""States that are drawn together."""


def after(
    state: DesiredPhase | None, step: ReplicaStep, reported: Phase | None = None
) -> DesiredPhase | None:
    """Return the state after `step`; None: the copy is no more. `reported` is the phase of a report.

    Raises ImpossibleStep.
    """
    for target in TRANSITIONS.get(state, {}).get(step, ()):
        if step is not ReplicaStep.REPORT or reported is (Phase.REMOVED if target is None else target.phase):
            return target
    what = step if reported is None else f"{step} {reported}"
    raise ImpossibleStep(f"{what!r} of a copy that is {state or 'not there'}")
