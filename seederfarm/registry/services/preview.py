"""Previews the effect of adding a list of keys, line by line; it writes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from ..models import Drive
from ..sql import batches
from .keys import Listed, Malformed, read_lines


class Outcome(StrEnum):
    """The effect of adding a line."""

    NEW = "new"
    KNOWN = "known"
    """Registered already: it stays as it is."""
    REPEATED = "repeated"
    MALFORMED = "malformed"
    SKIPPED = "skipped"
    """Valid, and without effect here."""


class PreviewLine(NamedTuple):
    """One line of a list and what adding it would do."""

    line: int
    """From 1."""
    outcome: Outcome
    key: str = ""
    """Hex; empty where there is none."""
    kind: str = ""
    drive: Drive | None = None
    """Of a known key."""
    first_line: int = 0
    """Of a repeated key: where it was first."""
    text: str = ""
    """The malformed line, cut."""
    reason: str = ""


def preview(texts: str | Iterable[str]) -> list[PreviewLine]:
    """The outcome for each line that is not a comment, as `add_keys` would have it now. One query for each
    500 keys."""
    found = list(read_lines(texts))
    keys = {item.key for item in found if isinstance(item, Listed)}
    known: dict[str, Drive] = {}
    for batch in batches(sorted(keys)):
        known.update((drive.key, drive) for drive in Drive.objects.filter(key__in=batch))
    first: dict[str, int] = {}
    lines: list[PreviewLine] = []
    for item in found:
        if isinstance(item, Malformed):
            lines.append(PreviewLine(item.line, Outcome.MALFORMED, text=item.text, reason=item.error))
        elif not isinstance(item, Listed):
            lines.append(PreviewLine(item.line, Outcome.SKIPPED, reason=item.reason))
        elif item.key in first:
            at = first[item.key]
            lines.append(PreviewLine(item.line, Outcome.REPEATED, item.key, item.kind, first_line=at))
        else:
            first[item.key] = item.line
            drive = known.get(item.key)
            outcome = Outcome.NEW if drive is None else Outcome.KNOWN
            lines.append(PreviewLine(item.line, outcome, item.key, item.kind, drive))
    return lines
