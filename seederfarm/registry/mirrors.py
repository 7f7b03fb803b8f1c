"""The farm's blind peers, whose keys apps name as their mirrors."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from hypercore.keys import encode_key

from .models import Worker


class Mirror(NamedTuple):
    """A worker that is a blind peer, as it last reported."""

    key: str
    """Of its blind peer, z-base-32."""
    worker: str
    zone: str
    online: bool
    cores: int
    bytes: int
    clients: int


def mirrors(now: datetime) -> list[Mirror]:
    """Those of active workers. The first ones, which an app takes, are of different zones where there are
    several."""
    rows = Worker.objects.filter(state=Worker.State.ACTIVE, paused=False, engine__blind_peer__isnull=False)
    return spread(mirror for worker in rows if (mirror := mirror_of(worker, now)) is not None)


def mirror_of(worker: Worker, now: datetime) -> Mirror | None:
    """A worker as a blind peer; None if it is none."""
    found = worker.engine.get("blind_peer")
    if not found:
        return None
    return Mirror(
        key=encode_key(bytes.fromhex(found["key"])),
        worker=worker.name,
        zone=worker.zone,
        online=worker.is_online(now),
        cores=found["cores"],
        bytes=found["bytes"],
        clients=found["clients"],
    )


def spread(found: Iterable[Mirror]) -> list[Mirror]:
    """One of each zone in turn, online ones first, then those that keep least."""
    zones: dict[str, deque[Mirror]] = {}
    for mirror in sorted(found, key=lambda each: (not each.online, each.bytes, each.worker)):
        zones.setdefault(mirror.zone, deque()).append(mirror)
    chosen: list[Mirror] = []
    while zones:
        for zone in list(zones):
            chosen.append(zones[zone].popleft())
            if not zones[zone]:
                del zones[zone]
    return sorted(chosen, key=lambda each: not each.online)
