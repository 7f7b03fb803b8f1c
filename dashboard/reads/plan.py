"""What the page of the next plan shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from seederfarm.registry.services.next_plan import NamedMove, NextPlan, What, named

from .looks import Look

ROWS: Final = 100
"""Moves of each kind on the page. Ours."""
LOOKS: Final[dict[What, Look]] = {
    "unplaced": Look("is-risk", "risk", "No worker"),
    "assign": Look("is-work", "work", "New copy"),
    "release": Look("is-idle", "gone", "Copy to remove"),
}
"""Moves that need a person come first."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A plan with the moves that are listed."""

    plan: NextPlan
    rows: list[tuple[Look, NamedMove]]
    not_listed: int

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.rows or self.not_listed)


def shown(plan: NextPlan) -> Shown:
    """Return a plan with the moves that are listed. Two queries."""
    counted: Counter[What] = Counter()
    listed = []
    for move in plan.moves:
        counted[move.what] += 1
        if counted[move.what] <= ROWS:
            listed.append(move)
    order = list(LOOKS)
    listed.sort(key=lambda move: order.index(move.what))
    rows = [(LOOKS[found.move.what], found) for found in named(listed)]
    return Shown(plan, rows, plan.assigned + plan.released + plan.short - len(listed))
