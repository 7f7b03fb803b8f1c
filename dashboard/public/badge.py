"""The badge of a drive as SVG: safe, copying or at risk. Widths are estimated, and fixed by `textLength`."""

from __future__ import annotations

from typing import Final, NamedTuple

from django.utils.html import escape

from seederfarm.registry.health import Health
from workers import units

from .answer import Answer

LETTER: Final = 6.7
"""Width of a letter of Verdana at 11 px, about."""
NARROW: Final = {" ": 3.9, "i": 3.0, "t": 4.3, "r": 4.7, "s": 5.7, "c": 5.7, "%": 11.8}
"""Width of letters that differ from that."""
LEFT: Final = 91
"""Width of the part with the name."""


class Badge(NamedTuple):
    """Its words, colour and shape."""

    words: str
    colour: str
    shape: str
    label: str
    """For screen readers."""


SAFE: Final = (
    '<path fill="#fff" fill-rule="evenodd" d="M102 5a5 5 0 1 0 0 10 5 5 0 0 0 0-10Zm-2.8 5.2.8-.8 1.4 1.3 '
    '2.6-2.8.8.8-3.4 3.6Z"/>'
)
COPYING: Final = (
    '<path fill="none" stroke="#fff" stroke-width="1.3" d="M106.4 10a4.4 4.4 0 1 1-8.8 0 4.4 4.4 0 0 1 8.8 '
    '0ZM102 7.4v4.6m-2-1.9 2 2 2-2"/>'
)
AT_RISK: Final = (
    '<path fill="#fff" fill-rule="evenodd" d="M102 4.8 96.6 14.6h10.8ZM101.4 8.2h1.2v3.2h-1.2Zm0 4h1.2v1.2'
    'h-1.2Z"/>'
)


def badge_of(answer: Answer) -> Badge:
    """One of three states. Never better than the drive is: what is not known counts as copying or at risk."""
    copies = units.plural(answer.counted, "copy", "copies")
    if answer.is_safe:
        return Badge(copies, "#047857", SAFE, f"{copies}, safe")
    if answer.health in (Health.COPYING, Health.WAITING):
        share = "" if answer.share is None else f" {int(100 * min(answer.share, 0.99))}%"
        return Badge(f"copying{share}", "#1d4ed8", COPYING, f"copying{share}")
    return Badge("at risk", "#b45309", AT_RISK, f"at risk, {copies}")


def svg_of(answer: Answer) -> str:
    """The picture. It has no script, and needs nothing from elsewhere."""
    badge = badge_of(answer)
    text = round(sum(NARROW.get(letter, LETTER) for letter in badge.words))
    right = 20 + text + 7
    width, whole = LEFT + right, f"Seeder Farm: {badge.label}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" '
        f'aria-label="{escape(whole)}"><title>{escape(whole)}</title>'
        f'<clipPath id="r"><rect width="{width}" height="20" rx="4"/></clipPath><g clip-path="url(#r)">'
        f'<path fill="#24312b" d="M0 0h{LEFT}v20H0z"/>'
        f'<path fill="{badge.colour}" d="M{LEFT} 0h{right}v20H{LEFT}z"/></g>'
        '<path d="M13 15V9.4m0 0c0-2.6-1.6-4.3-4.8-4.3 0 3.2 1.6 4.7 4.8 4.3zm0 1.6c0-2.1 1.6-3.7 4.8-3.7 0 '
        '2.7-1.6 4.2-4.8 3.7z" fill="none" stroke="#5eead4" stroke-width="1.5" stroke-linecap="round" '
        f'stroke-linejoin="round"/>{badge.shape}'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="11">'
        '<text x="23" y="14" textLength="62">seeder farm</text>'
        f'<text x="{LEFT + 20}" y="14" textLength="{text}">{escape(badge.words)}</text></g></svg>\n'
    )
