"""How peers reach the workers, from their last heartbeats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from seederfarm.registry.reach import WAYS, Reachability, engines_of, nat_of, reachability_of, ways_of

MAX_NAMED: Final = 3
"""Workers that the card of the network names. Ours."""

_NAT: Final[Mapping[str, str]] = {
    "open": "directly, without a NAT",
    "consistent": "through holes, its NAT keeps ports",
    "random": "by some peers, its NAT changes ports",
}
_PUNCHABLE: Final[Mapping[str, str]] = {
    "open": "not needed",
    "consistent": "yes",
    "random": "with peers whose NAT keeps ports",
}


@dataclass(frozen=True, slots=True)
class Network:
    """The way by which peers reach a worker, in one word."""

    tone: str
    icon: str
    word: str


_LOOKS: Final = {
    Reachability.NOT_HEARD: ("is-fail", "wifi_off"),
    Reachability.OFFLINE: ("is-fail", "wifi_off"),
    Reachability.UNKNOWN: ("is-idle", "wifi_2_bar"),
    Reachability.DIRECT: ("is-safe", "wifi"),
    Reachability.PUNCHABLE: ("is-safe", "wifi_tethering"),
    Reachability.HARD: ("is-risk", "wifi_2_bar"),
}


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One engine. Empty texts: not known."""

    index: int
    running: bool
    hung: bool
    restarts: int
    address: str
    peers: int


@dataclass(frozen=True, slots=True)
class Reach:
    """The panel of a worker. Empty texts: not known."""

    online: bool
    reachable: str
    punchable: str
    addresses: list[str]
    seen_as: str
    peers: int
    punched: int
    relayed: int
    engines: list[EngineRow]


@dataclass(frozen=True, slots=True)
class FarmNetwork:
    """The card of the status bar."""

    workers: int
    online: int
    """Workers that DHT nodes answer."""
    direct: int
    """Workers that every peer reaches."""
    punchable: int
    """Workers that need no hole, or let peers punch one."""
    addresses: list[str]
    """Addresses of the worker, where only one is heard."""
    peers: int
    punched: int
    relayed: int
    hard: list[str]
    """Names of workers that some peers reach through a relay only."""
    tone: str
    icon: str
    word: str


def network_of(engine: Mapping[str, Any], *, in_farm: bool, is_stale: bool) -> Network:
    """Return how peers reach a worker, from its last heartbeat."""
    found = Reachability.NOT_HEARD if is_stale else reachability_of(engine)
    if found is Reachability.NOT_HEARD and not in_farm:
        return Network("is-idle", "wifi_off", found)
    return Network(*_LOOKS[found], found)


def reach_of(engine: Mapping[str, Any]) -> Reach | None:
    """Return the panel of a worker; None if it reported nothing."""
    engines = engines_of(engine)
    if not engine.get("engines"):
        return None
    ways, nat = ways_of(engines), nat_of(engines)
    by, same = (sum(each.get(name, 0) for each in engines) for name in ("seen_by", "seen_same"))
    return Reach(
        online=any(each.get("online") for each in engines),
        reachable=_NAT.get(nat, ""),
        punchable=_PUNCHABLE.get(nat, ""),
        addresses=[each["address"] for each in engines if each.get("address")],
        seen_as=f"the same from {same:,} of {by:,} nodes" if by else "",
        peers=sum(ways.values()),
        punched=ways["punched"],
        relayed=ways["relayed"],
        engines=[
            EngineRow(
                each.get("index", 0),
                bool(each.get("running")),
                bool(each.get("hung")),
                each.get("restarts", 0),
                each.get("address", ""),
                sum(each.get(way, 0) for way in WAYS),
            )
            for each in engine["engines"]
        ],
    )


def farm_network(
    workers: Iterable[tuple[str, datetime | None, Mapping[str, Any]]], since: datetime
) -> FarmNetwork:
    """Return the card of the farm. `workers`: name, time and engines of each last heartbeat. Workers heard
    before `since` count as silent."""
    rows = list(workers)
    heard = [(name, engine) for name, seen, engine in rows if seen is not None and seen >= since]
    shown = {name: network_of(engine, in_farm=True, is_stale=False) for name, engine in heard}
    words = [network.word for network in shown.values()]
    direct, punched = words.count(Reachability.DIRECT), words.count(Reachability.PUNCHABLE)
    hard = [name for name, network in shown.items() if network.word == Reachability.HARD]
    online = direct + punched + len(hard)
    ways = ways_of(each for _, engine in heard for each in engines_of(engine))
    reaches = [reach for _, engine in heard if (reach := reach_of(engine)) is not None]
    if not heard or (online == 0 and Reachability.OFFLINE in words):
        tone, icon, word = "is-fail", "wifi_off", "offline"
    elif online == 0:
        tone, icon, word = "is-idle", "wifi_2_bar", "not known yet"
    elif online < len(rows) or hard:
        tone, icon, word = "is-risk", "wifi_2_bar", "limited"
    else:
        tone, icon, word = "is-safe", "wifi" if direct else "wifi_tethering", "good"
    return FarmNetwork(
        workers=len(rows),
        online=online,
        direct=direct,
        punchable=direct + punched,
        addresses=reaches[0].addresses if len(rows) == len(reaches) == 1 else [],
        peers=sum(ways.values()),
        punched=ways["punched"],
        relayed=ways["relayed"],
        hard=hard[:MAX_NAMED],
        tone=tone,
        icon=icon,
        word=word,
    )
