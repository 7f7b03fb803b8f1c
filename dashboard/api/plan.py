"""What the next plan would do."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from django.http import HttpRequest
from ninja import Query, Router, Schema
from pydantic import BaseModel, Field

from seederfarm.registry.services.next_plan import LISTED, NamedMove, Unavailable, named, recent

from .access import READ
from .problems import ProblemError, documented, later
from .shapes import DriveRef, WorkerRef

router: Final = Router(tags=["farm"])


class PlanQuery(Schema):
    """How many moves are listed."""

    limit: Annotated[int, Field(ge=0, le=LISTED)] = Field(100, description="Moves of each kind.")


class MoveShape(BaseModel):
    """What would be done with one drive."""

    what: Literal["assign", "release", "unplaced"] = Field(
        description="A copy to make, one to release, a drive that finds no worker."
    )
    drive: DriveRef | None = Field(description="Null: removed since.")
    worker: WorkerRef | None
    bytes: int = Field(description="To download.")
    missing: int = Field(description="Copies that find no worker.")
    reason: str

    @classmethod
    def of(cls, found: NamedMove) -> MoveShape:
        """The shape of a move of a plan."""
        move, drive, worker = found
        return cls(
            what=move.what,
            drive=DriveRef.of_optional(drive),
            worker=WorkerRef.of_optional(worker),
            bytes=move.bytes,
            missing=move.missing,
            reason=move.reason,
        )


class PlanShape(BaseModel):
    """What the next plan would do."""

    at: datetime = Field(description="When it was planned.")
    drives: int = Field(description="Drives that a plan may change.")
    left_out: int = Field(description="More of them, which were not planned here.")
    assign: int
    release: int
    unplaced: int
    bytes: int = Field(description="To download, as far as sizes are known.")
    moves: list[MoveShape]
    not_listed: int


@router.get("/plan", response=PlanShape, auth=READ, openapi_extra={"responses": {503: documented(503)}})
def get_plan(request: HttpRequest, query: Query[PlanQuery]) -> Any:
    """What the next plan would do, as workers are now; nothing is changed.

    The answer is ten seconds old at most, in large farms somewhat more. The farm carries plans out by itself.
    """
    try:
        plan = recent()
    except Unavailable:
        raise ProblemError(503, "Another request is planning; try again.", headers=later(5)) from None
    counts: dict[str, int] = {}
    listed = []
    for move in plan.moves:
        counts[move.what] = counts.get(move.what, 0) + 1
        if counts[move.what] <= query.limit:
            listed.append(move)
    return PlanShape(
        at=plan.at,
        drives=plan.drives,
        left_out=plan.left_out,
        assign=plan.assigned,
        release=plan.released,
        unplaced=plan.short,
        bytes=plan.bytes,
        moves=[MoveShape.of(found) for found in named(listed)],
        not_listed=plan.assigned + plan.released + plan.short - len(listed),
    )
