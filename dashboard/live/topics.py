"""Topics of the event stream, and the fragment of HTML that each stands for.

A topic is one of `FARM`, or `drive.KEY.PART` with the key in hex and a part of DRIVE.
The pages include the same templates. A fragment is the same for all users: nothing in it depends on rights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from functools import cache
from typing import Any, Final

from django.template.loader import render_to_string

from hypercore.printable import visible
from seederfarm.registry.middleware import PAGE
from seederfarm.registry.models import Drive

from ..reads import drive as reading
from ..reads import farm, workers
from ..reads.frame import open_alerts, status

DRIVE: Final = re.compile(r"drive\.([0-9a-f]{64})\.(verdict|copies|events|about)")

Context = dict[str, Any]


class Moment:
    """Values shared by the topics of one tick, so that each is loaded once."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self.overview = cache(lambda: farm.overview(self._now))
        self.workers = cache(lambda: workers.listed(self._now, retired=False))
        self.drive = cache(self._drive)

    def _drive(self, key: str) -> reading.DrivePage | None:
        found = Drive.objects.filter(key=key).first()
        return None if found is None else reading.one(found, self._now)


FARM: Final[dict[str, tuple[str, Callable[[Moment], Context]]]] = {
    "farm.overview": ("_overview", lambda moment: {"seen": moment.overview()}),
    "farm.events": ("_events", lambda moment: {"events": moment.overview().events}),
    "farm.status": ("_status", lambda moment: {"status": status()}),
    "farm.alerts": ("_alerts_count", lambda moment: {"alerts": open_alerts()}),
    "workers.verdict": ("_workers_verdict", lambda moment: {"seen": moment.workers()}),
    "workers.table": ("_workers_table", lambda moment: {"seen": moment.workers(), "retired": False}),
}


def known(topics: Iterable[str]) -> list[str]:
    """The valid topics, each once."""
    return [topic for topic in dict.fromkeys(topics) if topic in FARM or DRIVE.fullmatch(topic)]


def render_all(topics: Collection[str], now: datetime) -> dict[str, str]:
    """The fragment of each topic, without topics of drives that are no longer registered."""
    moment = Moment(now)
    found = {topic: _render(topic, moment) for topic in topics}
    return {topic: visible(text, keep=PAGE) for topic, text in found.items() if text is not None}


def _render(topic: str, moment: Moment) -> str | None:
    if topic in FARM:
        template, load = FARM[topic]
        return render_to_string(f"dashboard/{template}.html", load(moment))
    parts = DRIVE.fullmatch(topic)
    seen = None if parts is None else moment.drive(parts[1])
    if seen is None or parts is None:
        return None
    if parts[2] == "events":
        return render_to_string("dashboard/_events.html", {"events": seen.events, "here": seen.drive})
    return render_to_string(f"dashboard/_drive_{parts[2]}.html", {"seen": seen, "drive": seen.drive})
