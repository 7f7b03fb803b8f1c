"""Parts of pages: icons, shapes, states, times, amounts. Texts of others are escaped and isolated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from seederfarm.registry.models import Drive
from workers import units

from ..reads.frame import frame as load_frame
from ..reads.looks import HEALTH, Look

register = template.Library()
NOTHING = "–"
NARROW = "\u00a0"
"""No-break space before units."""


def quantity(show: Callable[[float], str]) -> Callable[[float | str | None], str]:
    """Register a filter that shows a number, and a dash where there is none: Django passes None, or an empty
    text for a field that a worker's report lacks."""

    @wraps(show)
    def shown(value: float | str | None) -> str:
        return NOTHING if value is None or isinstance(value, str) else show(value)

    register.filter(show.__name__, shown)
    return shown


@register.simple_tag(takes_context=True)
def frame(context: Mapping[str, Any]) -> Any:
    """The frame of the page (`reads.frame.Frame`)."""
    return load_frame(context["request"])


@register.simple_tag
def icon(name: str, classes: str = "i") -> SafeString:
    """An icon of icons.svg. Screen readers skip it."""
    return _symbol(f"i-{name}", classes)


@register.simple_tag
def shape(name: str) -> SafeString:
    """The symbol of a state."""
    return _symbol(f"s-{name}", "shape")


def _symbol(name: str, classes: str) -> SafeString:
    where = static("dashboard/icons.svg")
    return format_html('<svg class="{}" aria-hidden="true"><use href="{}#{}"/></svg>', classes, where, name)


@register.filter
def look(health: str) -> Look:
    """Return the look of a drive's health."""
    return HEALTH[health]


@register.filter
def state(shown: Look) -> SafeString:
    """A state as symbol and word in its colour."""
    return format_html(
        '<span class="state {}">{}<span>{}</span></span>', shown.tone, shape(shown.shape), shown.word
    )


@quantity
def number(value: float) -> str:
    """`1,234`."""
    return f"{value:,}"


@quantity
def size(value: float) -> str:
    """Bytes: `12.4 GB`."""
    return units.format_size(value).replace(" ", NARROW)


@quantity
def rate(value: float) -> str:
    """Bytes a second: `1.2 MB/s`."""
    return f"{size(value)}/s"


@register.filter
def amount(value: float, unit: str) -> str:
    """A value in the unit of a chart: `bytes/s`, `bytes`, `%`."""
    if unit == "%":
        return f"{value:.0f}{NARROW}%"
    return rate(value) if unit == "bytes/s" else size(value)


@quantity
def percent(share: float) -> str:
    """Percents, rounded down: 100 % means all of it."""
    return f"{units.format_percent(share)[:-1]}{NARROW}%"


@quantity
def duration(seconds: float) -> str:
    """`2 h 5 min`; it does not break over lines."""
    return units.format_duration(seconds).replace(" ", NARROW)


@register.filter
def exact_duration(seconds: float) -> str:
    """A duration as forms take it: `10m`."""
    return units.exact_duration(seconds)


@register.filter
def age(at: datetime | None) -> SafeString | str:
    """`4 min ago`, the exact time on hover."""
    return NOTHING if at is None else _time(at, units.format_age((timezone.now() - at).total_seconds()))


@register.filter
def short_age(at: datetime | None) -> SafeString | str:
    """`4 min`, for narrow columns."""
    if at is None:
        return NOTHING
    text = units.format_age((timezone.now() - at).total_seconds())
    return _time(at, "now" if text == "just now" else text.removesuffix(" ago"))


@register.filter
def clock(at: datetime) -> SafeString:
    """`14:31` in the farm's time zone."""
    return _time(at, timezone.localtime(at).strftime("%H:%M"))


@register.filter
def day(at: datetime | None) -> SafeString | str:
    """`3 March 2026`."""
    if at is None:
        return NOTHING
    local = timezone.localtime(at)
    return _time(at, f"{local.day} {local:%B %Y}")


def _time(at: datetime, text: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(timespec="seconds"),
        at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        text.replace(" ", NARROW),
    )


@register.simple_tag
def key(text: str, name: str = "", *, full: bool = False) -> SafeString:
    """A key or id, shortened, with a button that copies all of it."""
    short = text if full or len(text) <= 16 else f"{text[:6]}…{text[-6:]}"
    label = f"Copy key of {name}" if name else "Copy key"
    return format_html(
        '<span class="key{}"><code title="{}">{}</code><button class="copy" type="button" data-copy="{}" '
        'aria-label="{}">{}</button></span>',
        " full" if full else "", text, short, text, label, icon("content_copy"),
    )  # fmt: skip


@register.simple_tag
def bar(have: float, total: float | None, label: str, *, tall: bool = False) -> SafeString:
    """A bar; pale when all of it is here, so that unfinished ones stand out."""
    whole = total or max(have, 1)
    classes = "bar" + (" done" if have >= whole else "") + (" tall" if tall else "")
    return format_html(
        '<progress class="{}" max="{}" value="{}" aria-label="{}"></progress>',
        classes, f"{whole:.0f}", f"{min(have, whole):.0f}", label,
    )  # fmt: skip


PIP, GAP, MAX_PIPS = 7, 2, 8


@register.simple_tag
def pips(full: int, started: int, wanted: int) -> SafeString:
    """A box for each copy: whole, on its way, missing. The number stands beside it."""
    total = min(max(full + started, wanted), MAX_PIPS)
    boxes: list[tuple[str, float, float, int, int]] = []
    for at in range(total):
        x = at * (PIP + GAP)
        if at < full + started:
            boxes.append(("full" if at < full else "part", x, 1, PIP, 10))
        else:
            boxes.append(("none", x + 0.5, 1.5, PIP - 1, 9))
    rects = format_html_join("", '<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="2"/>', boxes)
    wide = max(total * (PIP + GAP) - 1, 1)
    return format_html('<svg class="pips" width="{}" height="12" aria-hidden="true">{}</svg>', wide, rects)


@register.simple_tag
def segments(parts: list[tuple[str, int]]) -> SafeString:
    """A bar of (tone, number); each is wide enough to be seen."""
    total = sum(value for _, value in parts)
    shown = [(tone, value) for tone, value in parts if value]
    if not total:
        return mark_safe("")
    gap, smallest = 0.55, 1.5
    free = 100 - gap * (len(shown) - 1) - smallest * len(shown)
    x, rects = 0.0, []
    for tone, value in shown:
        wide = smallest + free * value / total
        rects.append((tone, f"{x:.2f}", f"{wide:.2f}"))
        x += wide + gap
    return format_html_join("", '<rect class="{}" x="{}%" width="{}%" height="100%"/>', rects)


@register.simple_tag
def title_of(drive: Drive) -> SafeString:
    """The name of a drive: what a person calls it, its own title, or its key; of others, so isolated."""
    text = drive.label or drive.title
    return format_html("<bdi>{}</bdi>", text[:200]) if text else format_html("{}", drive.short_key)


@register.simple_tag(takes_context=True)
def address(context: Mapping[str, Any], **changes: object) -> str:
    """The query of this page with some parameters changed; an empty one is left out. Goes back to page 1."""
    query = context["request"].GET.copy()
    query.pop("page", None)
    query.pop("before", None)
    for name, value in changes.items():
        query.pop(name, None)
        if value not in (None, ""):
            query[name] = str(value)
    return f"?{query.urlencode()}" if query else "."


@register.filter
def coded(text: str) -> SafeString:
    """What is between `backticks`, as code."""
    parts = enumerate(text.split("`"))
    shown = ((format_html("<code>{}</code>", part) if at % 2 else part,) for at, part in parts)
    return format_html_join("", "{}", shown)


@register.filter
def split_words(text: str) -> list[str]:
    """Words of a text, at white space."""
    return text.split()
