"""Values formatted for people."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from workers.units import format_age, format_size

NOTHING = "–"


def size(count: int | None) -> str:
    """`0 B`, `1.5 GB`."""
    return NOTHING if count is None else format_size(count)


def age(at: datetime | None, now: datetime | None = None) -> SafeString | str:
    """`just now`, `5 min ago`, `3 days ago`; the exact time is the tooltip."""
    if at is None:
        return NOTHING
    return format_html(
        '<time class="whitespace-nowrap" datetime="{}" title="{}">{}</time>',
        at.isoformat(),
        exact(at),
        ago(at, now),
    )


def ago(at: datetime, now: datetime | None = None) -> str:
    return format_age(((now or timezone.now()) - at).total_seconds())


def exact(at: datetime) -> str:
    return timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S %Z")


def bar(share: float | None, text: str) -> SafeString:
    """A thin bar under a text; without a share the text alone."""
    if share is None:
        return format_html('<span class="whitespace-nowrap">{}</span>', text)
    width = round(100 * max(0.0, min(1.0, share)))
    colour = "bg-red-500" if share > 0.95 else "bg-primary-500"
    return _bar(text, width, colour)


def progress(share: float | None, text: str) -> SafeString:
    """A bar for a value that should reach 1."""
    if share is None:
        return format_html('<span class="whitespace-nowrap">{}</span>', text)
    return _bar(text, int(100 * max(0.0, min(1.0, share))), "bg-primary-500")


def _bar(text: str, width: int, colour: str) -> SafeString:
    return format_html(
        '<div class="flex flex-col gap-1" style="min-width: 7rem"><span class="whitespace-nowrap">{}</span>'
        '<div class="bg-base-100 dark:bg-base-800 rounded-default overflow-hidden">'
        '<div class="h-1 {}" style="width: {}%"></div></div></div>',
        text,
        colour,
        width,
    )


def mono(text: str, title: str = "") -> SafeString:
    style = "overflow-wrap: anywhere"
    return format_html('<code class="text-xs" style="{}" title="{}">{}</code>', style, title or text, text)


def nowrap(text: str) -> SafeString:
    return format_html('<span class="whitespace-nowrap">{}</span>', text)
