"""Operations that change drives, on the router of `drives`: an address has one router."""

from __future__ import annotations

from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import HttpRequest
from ninja import Status

from seederfarm.registry import services
from seederfarm.registry.models import Drive, Worker
from seederfarm.registry.models.access import Scope
from seederfarm.registry.services.edits import edit_drive
from seederfarm.registry.services.keys import Malformed, read_lines

from .access import BearerToken, caller_of
from .drives import Key, detail_of, drive_of, router
from .given import DriveGiven, DrivesGiven, invalid
from .problems import MAX_ERRORS, ProblemError, later
from .repeats import once
from .shapes import AddedShape, DriveDetail, DriveRef, ProofShape

ADD: Final = BearerToken(Scope.DRIVES, "registry.add_drive")
CHANGE: Final = BearerToken(Scope.DRIVES, "registry.change_drive")


@router.post("/drives", response={201: AddedShape, 200: AddedShape}, auth=ADD)
def add_drives(request: HttpRequest, body: DrivesGiven) -> Any:
    """Add drives. Known ones stay as they are (200 if all are); one malformed line, and none is added.

    With an `Idempotency-Key` a repetition gets the first answer.
    """
    return once(request, lambda: _add(request, body))


def _add(request: HttpRequest, body: DrivesGiven) -> Any:
    wrong = [line for line in read_lines(body.keys) if isinstance(line, Malformed)]
    if wrong:
        errors = [{"field": f"body.keys.{bad.line - 1}", "text": bad.error} for bad in wrong[:MAX_ERRORS]]
        text = f"{len(wrong):,} of {len(body.keys):,} lines are no keys; nothing was added."
        raise ProblemError(422, text, errors=errors)
    copies = body.copies
    try:
        result = services.add_keys(
            body.keys,
            kind=body.kind or "",
            label=body.label,
            tags=body.tags,
            required_tags=body.required_tags,
            replicas=None if copies is None else (copies.min, copies.max),
            priority=body.priority,
            actor=caller_of(request).actor,
        )
    except ValidationError as error:
        raise invalid(error) from None
    answer = AddedShape(
        added=[DriveRef.of(drive) for drive in result.added],
        existing=[DriveRef.of(drive) for drive in result.existing],
        repeated=result.repeated,
        skipped=[f"line {line.line}: {line.reason}" for line in result.skipped],
    )
    return Status(201 if result.added else 200, answer)


@router.patch("/drives/{key:key}", response=DriveDetail, auth=CHANGE)
def change_drive(request: HttpRequest, key: Key, body: DriveGiven) -> Any:
    """Change copies, label, note, tags, priority, expiry, pins, forks; fields that are not sent stay."""
    drive, changes = drive_of(key), body.changes()
    if "pinned_workers" in changes:
        changes["pinned_workers"] = workers_of(changes["pinned_workers"])
    try:
        edit_drive(drive, changes, caller_of(request).actor)
    except ValidationError as error:
        raise invalid(error) from None
    return detail_of(key)


def workers_of(names: list[str]) -> list[Worker]:
    """Return workers by ids or names. Raises ProblemError (422) for unknown ones."""
    found = list(Worker.objects.filter(Q(node_id__in=names) | Q(name__in=names)))
    known = {worker.node_id for worker in found} | {worker.name for worker in found}
    errors = [
        {"field": f"body.pinned_workers.{at}", "text": "no worker of this farm"}
        for at, name in enumerate(names)
        if name not in known
    ]
    if errors:
        raise ProblemError(422, f"{len(errors)} of the workers are not of this farm.", errors=errors)
    return found


@router.post("/drives/{key:key}/pause", response=DriveDetail, auth=CHANGE)
def pause_drive(request: HttpRequest, key: Key) -> Any:
    """Leave its copies where they are. 409 while it is being removed."""
    drive = drive_of(key)
    if drive.state == Drive.State.REMOVING:
        raise ProblemError(409, "It is being removed; resume takes that back.")
    services.pause([drive], caller_of(request).actor)
    return detail_of(key)


@router.post("/drives/{key:key}/resume", response=DriveDetail, auth=CHANGE)
def resume_drive(request: HttpRequest, key: Key) -> Any:
    """End a pause, or take back a removal that is not finished."""
    services.resume([drive_of(key)], caller_of(request).actor)
    return detail_of(key)


@router.post("/drives/{key:key}/prove", response={202: ProofShape}, auth=CHANGE)
def prove_drive(request: HttpRequest, key: Key) -> Any:
    """Request proofs of its complete copies now; once in five minutes for each drive."""
    done = services.reverify([drive_of(key)], caller_of(request).actor)
    if done.skipped:
        raise ProblemError(429, "Its copies were asked for proof a moment ago.", headers=later(done.wait))
    return Status(202, ProofShape(copies=done.copies))


@router.delete("/drives/{key:key}", response={202: DriveRef}, auth=CHANGE)
def remove_drive(request: HttpRequest, key: Key, force: bool = False) -> Any:
    """Remove it with all of its copies.

    409 if the farm has the fullest copy known and its publisher was not seen lately; `force` removes it then,
    too.
    """
    drive = drive_of(key)
    result = services.remove([drive], caller_of(request).actor, force=force)
    if result.guarded:
        raise ProblemError(409, f"It was kept: {result.guarded[0].why}. `force=true` removes it, too.")
    return Status(202, DriveRef.of(drive))
