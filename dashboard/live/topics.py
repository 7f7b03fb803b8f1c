"""Topics of the event stream, and the fragment of HTML that each stands for.

A topic is one of `FARM`, `drive.KEY.PART` with the key in hex and a part of DRIVE, `row.ID` with the primary
key of a drive: its row in the list, or `worker.ID.rates` with the id of a worker: its newest minute.
The pages include the same templates. A fragment is the same for all users: nothing in it depends on rights.
What does, and forms, the page loads again for its own user when a fragment with a mark has changed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, Final

from django.template.loader import render_to_string

from hypercore.printable import visible
from seederfarm.registry.middleware import PAGE
from seederfarm.registry.models import Drive
from seederfarm.registry.services.watching import watch

from ..reads import alerts, changes, drives, farm, minutes, peers, workers
from ..reads import drive as reading
from ..reads.frame import open_alerts, status

DRIVE: Final = re.compile(r"drive\.([0-9a-f]{64})\.(verdict|chips|copies|files|events|about|peers|title)")
ROW: Final = re.compile(r"row\.([1-9][0-9]{0,17})")
WORKER: Final = re.compile(r"worker\.([a-z0-9]{52})\.rates")
RENEW: Final = timedelta(seconds=30)
"""An unchanged drive is rendered again after this time: it says how long ago things were. Ours."""

PORTION: Final = 0.3
"""Seconds of work for drives in one tick. Ours."""

Context = dict[str, Any]


class Moment:
    """Values shared by the topics of one tick, so that each is loaded once."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self.overview = cache(lambda: farm.overview(self._now))
        self.status = cache(status)
        self.alerts_mark = cache(lambda: alerts.mark_of(self._now))
        self.minute = cache(lambda: minutes.newest(self._now))
        self.workers = cache(lambda: workers.listed(self._now, retired=False))


FARM: Final[dict[str, tuple[str, Callable[[Moment], Context]]]] = {
    "farm.overview": ("_overview", lambda moment: {"seen": moment.overview()}),
    "farm.rates": ("_rates", lambda moment: {"measured": moment.minute().farm}),
    "farm.events": ("_events", lambda moment: {"events": moment.overview().events}),
    "farm.status": ("_status", lambda moment: {"status": moment.status()}),
    "farm.network": ("_network", lambda moment: {"status": moment.status()}),
    "farm.alerts": ("_alerts_count", lambda moment: {"alerts": open_alerts()}),
    "alerts.channels": ("_channels", lambda moment: {"channels": alerts.channels()}),
    "alerts.mark": ("_alerts_mark", lambda moment: {"mark": moment.alerts_mark()}),
    "workers.verdict": ("_workers_verdict", lambda moment: {"seen": moment.workers()}),
    "workers.table": ("_workers_table", lambda moment: {"seen": moment.workers(), "retired": False}),
}


def known(topics: Iterable[str]) -> list[str]:
    """The valid topics, each once."""
    return [
        topic
        for topic in dict.fromkeys(topics)
        if topic in FARM or any(shape.fullmatch(topic) for shape in (DRIVE, ROW, WORKER))
    ]


class Fragments:
    """Renders what changed since the last call. Belongs to one hub."""

    def __init__(self, portion: float = PORTION) -> None:
        self._portion = portion
        self._rendered: dict[str, tuple[int, datetime]] = {}
        """The digest of a topic's data, and when its fragment was made from it."""

    def render(self, topics: Collection[str], fresh: Collection[str], now: datetime) -> dict[str, str]:
        """Fragments of the farm, of drives that changed, and of `fresh` topics.

        Nothing for drives that are no longer registered. After `portion` seconds of work for drives, the
        others wait for the next call: those that changed come first, then those whose fragment is the oldest.
        """
        watched = set(topics)
        self._rendered = {topic: made for topic, made in self._rendered.items() if topic in watched}
        for topic in fresh:
            self._rendered.pop(topic, None)
        try:
            found = dict(_of_farm(watched, now))
            ends = time.monotonic() + self._portion
            for due in sorted([*self._rows(watched, now), *self._pages(watched, now)], key=Due.order):
                found.update(due.render())
                self._rendered.update(dict.fromkeys(due.topics, (due.digest, now)))
                if time.monotonic() > ends:
                    break
        except Exception:
            self._rendered.clear()  # what was rendered is lost
            raise
        return {topic: visible(text, keep=PAGE) for topic, text in found.items()}

    def _pages(self, topics: Collection[str], now: datetime) -> Iterator[Due]:
        wanted: dict[str, list[str]] = {}
        for topic in topics:
            if parts := DRIVE.fullmatch(topic):
                wanted.setdefault(parts[1], []).append(topic)
        digests = changes.digests_of(wanted) if wanted else {}
        yield from self._peers([topic for topic in topics if topic.endswith(".peers")], now)
        for key, (drive, events) in digests.items():
            shown = [topic for topic in wanted[key] if not topic.endswith(".peers")]
            for of_events, digest in ((False, drive), (True, events)):
                here = [topic for topic in shown if topic.endswith(".events") == of_events]
                yield from self._due(here, digest, partial(_page, key, here, now), now)

    def _peers(self, topics: Sequence[str], now: datetime) -> Iterator[Due]:
        if not topics:
            return
        keys = [topic.split(".")[1] for topic in topics]
        watch(keys, now)
        newest = peers.newest_lists(keys, now)
        for topic, key in zip(topics, keys, strict=True):
            at = newest.get(key)
            age = None if at is None else now - at > peers.FRESH
            yield from self._due([topic], hash((at, age)), partial(_peers_of, topic, key, now), now)

    def _rows(self, topics: Collection[str], now: datetime) -> Iterator[Due]:
        ids = [int(parts[1]) for topic in topics if (parts := ROW.fullmatch(topic))]
        for drive in drives.rows(ids) if ids else ():
            topic = f"row.{drive.pk}"
            yield from self._due([topic], drives.digest_of(drive), partial(_row, topic, drive), now)

    def _due(
        self, topics: Sequence[str], digest: int, render: Callable[[], Mapping[str, str]], now: datetime
    ) -> Iterator[Due]:
        made = [self._rendered[topic] for topic in topics if topic in self._rendered]
        changed = any(before != digest for before, _ in made)
        since = min((at for _, at in made), default=None) if len(made) == len(topics) else None
        if topics and (changed or since is None or now - since >= RENEW):
            yield Due(topics, digest, changed, since, render)


@dataclass(frozen=True, slots=True)
class Due:
    """Topics to render, from the same data."""

    topics: Sequence[str]
    digest: int
    changed: bool
    since: datetime | None
    """Time of the oldest of them. None: one of them was never rendered."""
    render: Callable[[], Mapping[str, str]]

    def order(self) -> tuple[bool, float]:
        """Sorts changed topics first, and of these and the others those that wait longest."""
        return not self.changed, 0.0 if self.since is None else self.since.timestamp()


def _of_farm(topics: Collection[str], now: datetime) -> Iterator[tuple[str, str]]:
    moment = Moment(now)
    for topic, (template, load) in FARM.items():
        if topic in topics:
            yield topic, render_to_string(f"dashboard/{template}.html", load(moment))
    for topic in topics:
        if parts := WORKER.fullmatch(topic):
            measured = moment.minute().of(parts[1])
            yield topic, render_to_string("dashboard/_rates.html", {"measured": measured})


def _page(key: str, topics: Sequence[str], now: datetime) -> dict[str, str]:
    drive = Drive.objects.filter(key=key).first()
    if drive is None:
        return {}
    if topics[0].endswith(".events"):
        events = reading.events_of(drive)
        return {topics[0]: render_to_string("dashboard/_events.html", {"events": events, "here": drive})}
    context = {"seen": reading.one(drive, now, with_events=False), "drive": drive}
    return {
        topic: render_to_string(f"dashboard/_drive_{topic.rpartition('.')[2]}.html", context)
        for topic in topics
    }


def _peers_of(topic: str, key: str, now: datetime) -> dict[str, str]:
    drive = Drive.objects.filter(key=key).first()
    if drive is None:
        return {}
    context = {"peers": peers.peers_of(drive, now)}
    return {topic: render_to_string("dashboard/_drive_peers.html", context)}


def _row(topic: str, drive: Drive) -> dict[str, str]:
    return {topic: render_to_string("dashboard/_drives_row.html", {"drive": drive})}
