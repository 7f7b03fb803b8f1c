"""The preview of adding keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hypercore.keys import encode_key
from seederfarm.registry.services.preview import Outcome, PreviewLine
from workers import units

SHOWN: Final = 200
"""Lines that the preview lists. Ours."""


@dataclass(frozen=True, slots=True)
class Added:
    """The result of adding: the page to show next, and the lines that could not be read."""

    href: str
    wrong: list[str]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the preview."""

    line: PreviewLine
    short: str
    """The key in z-base-32, or what was written, shortened."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The effect of adding some keys; its first lines are shown."""

    new: int
    text: str
    wrong: int
    lines: list[Line]
    left_out: int


def summary(lines: Sequence[PreviewLine]) -> Summary:
    """Return the preview; lines that cannot be read come first."""
    count = {outcome: sum(line.outcome is outcome for line in lines) for outcome in Outcome}
    wrong = count[Outcome.MALFORMED]
    parts = []
    if count[Outcome.KNOWN]:
        parts.append(f"{count[Outcome.KNOWN]:,} {_is(count[Outcome.KNOWN])} here already")
    if count[Outcome.REPEATED]:
        parts.append(
            f"{units.plural(count[Outcome.REPEATED], 'line')} {_is(count[Outcome.REPEATED])} a repeat"
        )
    if count[Outcome.SKIPPED]:
        parts.append(
            f"{units.plural(count[Outcome.SKIPPED], 'line')} {_is(count[Outcome.SKIPPED])} without effect"
        )
    if wrong:
        parts.append(f"{units.plural(wrong, 'line')} cannot be read")
    text = f"{', '.join(parts)}." if parts else ""
    ordered = sorted(lines, key=lambda line: (line.outcome is not Outcome.MALFORMED, line.line))
    shown = [Line(line, _short(line)) for line in ordered[:SHOWN]]
    return Summary(count[Outcome.NEW], text[:1].upper() + text[1:], wrong, shown, max(0, len(lines) - SHOWN))


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _short(line: PreviewLine) -> str:
    text = encode_key(bytes.fromhex(line.key)) if line.key else line.text
    return text if len(text) <= 16 else f"{text[:6]}…{text[-6:]}"
