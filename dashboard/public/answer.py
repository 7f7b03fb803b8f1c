"""What the public page of a drive shows: no names of workers, no label, no note, no tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.conf import settings

from hypercore.keys import decode_key
from seederfarm.registry.health import Health, counts
from seederfarm.registry.models import Drive, Replica
from seederfarm.registry.verdict import verdict_of
from workers import units

from ..reads.looks import HEALTH, Look

MAX_PLACES: Final = 8
"""Places that are named, where SEEDERFARM_PUBLIC_PLACES allows it."""
ANSWERS: Final = {
    Health.SAFE: ("Yes, you can go offline.", ""),
    Health.COPYING: ("Not yet: please stay online.", "The farm is copying it."),
    Health.WAITING: ("Not yet: nothing has arrived.", "No peer that has it was met. Please stay online."),
    Health.AT_RISK: ("Better stay online.", "Fewer copies count than are wanted, and nothing arrives."),
    Health.UNAVAILABLE: ("No: no complete copy is online.", "If you have it, please come online."),
    Health.REWRITTEN: ("No: its history was rewritten.", "Copies keep the old one until a person decides."),
    Health.PAUSED: ("Better stay online.", "It is paused: no more copies are made."),
    Health.REMOVING: ("No: the farm is removing it.", "Its copies are being deleted."),
}
"""The answer to "may I go offline?", and the reason."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The state of one drive at one moment."""

    key: str
    """z-base-32."""
    title: str
    """The title that its publisher gave. Empty: unknown."""
    kind: str
    look: Look
    health: Health
    is_safe: bool
    claim: str
    reason: str
    counted: int
    wanted: int
    version: int | None
    size: int | None
    share: float | None
    """Part that the fullest copy has, 0 to 1. None: not known."""
    proven_at: datetime | None
    observed_at: datetime | None
    kept_since: datetime
    has_files: bool
    """Whether the gateway may find files in it."""
    places: tuple[str, ...] | None
    """Of the copies that count. None: not shown."""

    @property
    def hex(self) -> str:
        """The key as addresses take it."""
        return decode_key(self.key).hex()

    def as_json(self) -> dict[str, Any]:
        """The answer for programs; times are UTC in ISO 8601."""
        found: dict[str, Any] = {
            "key": self.key,
            "title": self.title,
            "kind": self.kind or None,
            "state": self.health.value,
            "safe": self.is_safe,
            "text": self.claim,
            "copies": {"counted": self.counted, "wanted": self.wanted},
            "version": self.version,
            "bytes": self.size,
            "proven_at": self.proven_at,
            "observed_at": self.observed_at,
            "kept_since": self.kept_since,
        }
        return found if self.places is None else {**found, "places": list(self.places)}


def answer_of(drive: Drive, now: datetime) -> Answer:
    """Return the answer for a drive. Two queries."""
    copies = list(drive.replicas.select_related("worker"))
    verdict = verdict_of(drive, now, copies)
    claim, reason = ANSWERS[Health.SAFE if verdict.is_safe else verdict.health]
    good = [copy for copy in copies if counts(copy, drive, now)]
    if verdict.is_safe:
        there = units.plural(verdict.counted, "complete copy is", "complete copies are")
        reason = f"{there} online, with everything up to version {drive.length:,}."
    return Answer(
        key=drive.z32,
        title=drive.title,
        kind=drive.kind,
        look=HEALTH[Health.SAFE if verdict.is_safe else verdict.health],
        health=verdict.health,
        is_safe=verdict.is_safe,
        claim=claim,
        reason=reason,
        counted=verdict.counted,
        wanted=verdict.wanted,
        version=drive.length,
        size=drive.byte_length,
        share=_share(copies),
        proven_at=verdict.proven_at,
        observed_at=drive.observed_at,
        kept_since=drive.created_at,
        has_files=drive.may_have_files,
        places=_places(good) if settings.FARM.public_places else None,
    )


def _share(copies: Sequence[Replica]) -> float | None:
    shares = [copy.share for copy in copies if copy.desired and copy.share is not None]
    return max(shares, default=None)


def _places(good: Sequence[Replica]) -> tuple[str, ...]:
    return tuple(sorted({copy.worker.zone for copy in good if copy.worker.zone})[:MAX_PLACES])
