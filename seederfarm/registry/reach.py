"""The ways by which peers reach a worker, from the engine statistics of its last heartbeat. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

WAYS: Final = ("direct", "punched", "relayed")
"""Fields of `farmwire.report.Reach` that count connections."""


class Reachability(StrEnum):
    """The reachability of a worker, in words for people."""

    NOT_HEARD = "Not heard"
    OFFLINE = "Offline"
    """No node of the DHT answers."""
    UNKNOWN = "Not known yet"
    DIRECT = "Direct"
    """Every peer reaches it."""
    PUNCHABLE = "Hole-punchable"
    """Behind a NAT that keeps ports: peers reach it by punching holes."""
    HARD = "Hard to reach"
    """Behind a NAT that changes ports: some peers need a relay."""


_OF_NAT: Final = {
    "open": Reachability.DIRECT,
    "consistent": Reachability.PUNCHABLE,
    "random": Reachability.HARD,
    "unknown": Reachability.UNKNOWN,
}


def engines_of(engine: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the engines that run."""
    return [each for each in engine.get("engines", ()) if each.get("running")]


def ways_of(engines: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Connections by way."""
    found = dict.fromkeys(WAYS, 0)
    for each in engines:
        for way in WAYS:
            found[way] += each.get(way, 0)
    return found


def nat_of(engines: Sequence[Mapping[str, Any]]) -> str:
    """The NAT that is hardest to pass of those that are known."""
    found = {each.get("nat", "unknown") for each in engines}
    return next((kind for kind in ("random", "consistent", "open") if kind in found), "unknown")


def reachability_of(engine: Mapping[str, Any]) -> Reachability:
    """Return the reachability of a worker that is not silent."""
    if not engine.get("running"):
        return Reachability.NOT_HEARD
    engines = engines_of(engine)
    if engines and all(each.get("online") is False for each in engines):
        return Reachability.OFFLINE
    return _OF_NAT[nat_of(engines)]
