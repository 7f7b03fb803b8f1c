"""The peers of a watched drive."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Max

from hypercore.errors import KeyFormatError
from hypercore.keys import encode_key
from seederfarm.registry.models import CopyPeers, Drive, Worker
from seederfarm.registry.services.watching import is_watched

from .farm import IN_FARM

FRESH: Final = timedelta(seconds=20)
"""A list that is older shows no peer: workers send one every few seconds. Ours."""
SHOWN: Final = 20
"""Peers that a page lists, the busiest first. Ours."""
MAX_LISTS: Final = 500
"""Lists of peers that are read for the whole farm, of up to 20 peers: those of 50 watched drives. Ours."""
WAYS: Final = {"direct": "direct", "punched": "hole-punched", "relayed": "through a relay"}


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer of one copy. Bytes since it connected; rates in bytes a second."""

    id: str
    """z-base-32."""
    ours: str
    """Name of the worker of this farm that reports to be this peer; empty: none."""
    worker: Worker
    """The worker that reports it."""
    way: str
    up: float
    down: float
    bytes_out: int
    bytes_in: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Peers:
    """The panel of a drive."""

    asked: bool
    """Whether workers are asked. False: too many drives are watched."""
    known: bool
    """Whether any has answered."""
    total: int
    reading: int
    """Listed peers that get bytes now."""
    up: float
    down: float
    shown: list[Peer]


def peers_of(drive: Drive, now: datetime) -> Peers:
    """Return the panel of a drive. Two queries, one without peers."""
    rows = CopyPeers.objects.filter(replica__drive=drive, replica__desired=True, at__gt=now - FRESH)
    lists = list(rows.select_related("replica__worker"))
    names = _names() if any(each.peers for each in lists) else {}
    found = [_peer(peer, each.replica.worker, names) for each in lists for peer in each.peers]
    found.sort(key=lambda peer: (peer.up + peer.down, peer.bytes_out + peer.bytes_in), reverse=True)
    return Peers(
        asked=is_watched(drive, now),
        known=bool(lists),
        total=sum(each.total for each in lists),
        reading=sum(peer.up > 0 for peer in found),
        up=sum(peer.up for peer in found),
        down=sum(peer.down for peer in found),
        shown=found[:SHOWN],
    )


def connected(now: datetime) -> list[Peer]:
    """Return the peers of all copies of watched drives. A peer of two drives is there twice. Two queries."""
    rows = CopyPeers.objects.filter(replica__desired=True, at__gt=now - FRESH)
    names = _names()
    return [
        _peer(peer, each.replica.worker, names)
        for each in rows.select_related("replica__worker")[:MAX_LISTS]
        for peer in each.peers
    ]


def newest_lists(keys: Collection[str], now: datetime) -> dict[str, datetime]:
    """Return the time of each drive's newest list. One query."""
    rows = CopyPeers.objects.filter(replica__drive__key__in=keys, at__gt=now - 2 * FRESH).order_by()
    return dict(rows.values_list("replica__drive__key").annotate(at=Max("at")))


def _names() -> dict[str, str]:
    """Public key (hex) of each engine of the farm to the name of its worker."""
    rows = Worker.objects.filter(state__in=IN_FARM).values_list("name", "engine")
    return {each["id"]: name for name, engine in rows for each in engine.get("engines", ()) if each.get("id")}


def _peer(given: dict[str, Any], worker: Worker, names: dict[str, str]) -> Peer:
    return Peer(
        id=_spelled(given["id"]),
        ours=names.get(given["id"], ""),
        worker=worker,
        way=WAYS.get(given["way"], ""),
        up=given["up"],
        down=given["down"],
        bytes_out=given["bytes_out"],
        bytes_in=given["bytes_in"],
        seconds=given["seconds"],
    )


def _spelled(key: str) -> str:
    try:
        return encode_key(bytes.fromhex(key))
    except (ValueError, KeyFormatError):
        return key
