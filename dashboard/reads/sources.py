"""Data of the list of sources."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count

from seederfarm.registry.models import Drive, Source
from seederfarm.registry.urls import without_secrets
from workers import units

from .farm import Sentence
from .looks import Look


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source in the list."""

    source: Any
    look: Look
    place: str
    """Its address, without secrets."""
    is_due: bool
    """Whether its next reading begins as soon as another one ends."""


@dataclass(frozen=True, slots=True)
class SourceList:
    """What `/sources/` shows."""

    sentence: Sentence
    rows: list[SourceRow]
    followed: int
    """Number of drives that any of them lists."""
    total: int


def listed(now: datetime) -> SourceList:
    """Return the list of sources. Three queries."""
    found = Source.objects.annotate(keys=Count("entries")).order_by("name")
    rows = [
        SourceRow(
            source,
            look_of(source),
            without_secrets(source.location),
            source.next_at is None or source.next_at <= now,
        )
        for source in found
    ]
    followed = Drive.objects.filter(source_entries__isnull=False).distinct().count()
    return SourceList(_sentence(rows), rows, followed, Drive.objects.count())


def look_of(source: Source) -> Look:
    """Return the look of a source: that of the worst of its states."""
    if not source.enabled:
        return Look("is-idle", "paused", "Off", "its keys stay as they are")
    if source.failures:
        times = "once" if source.failures == 1 else f"{source.failures:,} times in a row"
        return Look("is-fail", "fail", "Fails", f"{times}; keys stay as they are")
    if source.held:
        return Look(
            "is-risk", "ask", "Removals held", f"{units.plural(source.held, 'key')}, until a person accepts"
        )
    if source.last_success_at is None:
        return Look("is-wait", "wait", "Not read yet")
    refused = f"{units.plural(source.refused, 'entry', 'entries')} refused" if source.refused else ""
    return Look("is-safe", "safe", "Read", refused)


def _sentence(rows: list[SourceRow]) -> Sentence:
    if not rows:
        return Sentence(
            Look("is-idle", "dot", "None"), "No source is followed",
            "A source is a list of keys that is read again and again: what is new on it is added by itself.",
        )  # fmt: skip
    wrong = [row for row in rows if row.look.tone == "is-fail"]
    held = [row for row in rows if row.look.tone == "is-risk"]
    idle = [row for row in rows if row.look.tone in ("is-idle", "is-wait")]
    good = len(rows) - len(wrong) - len(idle)
    counted = f"{good:,} of {units.plural(len(rows), 'source')} {'is' if good == 1 else 'are'} read"
    if wrong:
        name = wrong[0].source.name
        others = f" and {len(wrong) - 1:,} more fail" if len(wrong) > 1 else " fails"
        text = "Its keys stay: a list that fails or comes back empty never removes anything."
        return Sentence(Look("is-risk", "risk", "Fails"), f"{counted}; {name}{others}", text)
    if held:
        text = "It lost more keys than usual. Nothing is removed until a person accepts it."
        return Sentence(held[0].look, f"{held[0].source.name} waits for a person", text)
    if idle:
        text = "The others are switched off or were not read yet; their keys stay. Nothing needs you."
        return Sentence(idle[0].look, counted, text)
    title = "The source is read" if len(rows) == 1 else f"All {len(rows)} sources are read"
    return Sentence(Look("is-safe", "safe", "Read"), title, "Nothing needs you.")
