from __future__ import annotations

from typing import Any

import pytest

from seederfarm.registry.reach import Reachability, engines_of, reachability_of, ways_of


def engine(*kinds: str, online: bool = True, **values: Any) -> dict[str, Any]:
    engines = [
        {"running": True, "online": online, "nat": kind, "direct": 2, "punched": 1, "relayed": 0}
        for kind in kinds
    ]
    return {"running": True, "engines": engines, **values}


@pytest.mark.parametrize(
    ("reported", "word"),
    [
        ({}, Reachability.NOT_HEARD),
        (engine("open", running=False), Reachability.NOT_HEARD),
        (engine("open", online=False), Reachability.OFFLINE),
        (engine("open", "open"), Reachability.DIRECT),
        (engine("open", "consistent"), Reachability.PUNCHABLE),
        (engine("consistent", "random"), Reachability.HARD),
        (engine("unknown"), Reachability.UNKNOWN),
        ({"running": True}, Reachability.UNKNOWN),
    ],
)
def test_the_nat_that_is_hardest_to_pass_gives_the_word(reported: dict[str, Any], word: str) -> None:
    assert reachability_of(reported) == word


def test_connections_are_counted_by_way_over_engines_that_run() -> None:
    reported = engine("open", "open")
    reported["engines"][1]["running"] = False
    assert ways_of(engines_of(reported)) == {"direct": 2, "punched": 1, "relayed": 0}
