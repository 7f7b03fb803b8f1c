"""What the benchmark of transfers makes of its measurements."""

from __future__ import annotations

from benchmarks.pairs import OFFICIAL, OURS, UP, Transfer
from benchmarks.scenarios import SCENARIOS, chosen
from benchmarks.transfer import ratios, table


def _transfer(pair: str, speed: float, sender_cpu: float, receiver_cpu: float = 1.0) -> Transfer:
    return Transfer(
        load="a load",
        pair=pair,
        seconds=1.0,
        mb_per_s=speed,
        evenness=1.0,
        sender_cpu=sender_cpu,
        receiver_cpu=receiver_cpu,
        sender_rss=100,
        receiver_rss=200,
        seconds_from_start=2.0,
    )


def test_ratios_are_of_medians_and_of_the_seats_that_are_ours() -> None:
    transfers = [_transfer(OFFICIAL, speed, 2.0, 4.0) for speed in (10.0, 50.0, 20.0)]
    transfers += [_transfer(UP, 30.0, 1.0, 9.0), _transfer(OURS, 40.0, 0.5, 1.0)]
    assert ratios(transfers) == {
        "ours → official speed": 1.5,
        "ours → official sender cpu": 0.5,
        "ours → official sender rss": 1.0,
        "ours → ours speed": 2.0,
        "ours → ours sender cpu": 0.25,
        "ours → ours sender rss": 1.0,
        "ours → ours receiver cpu": 0.25,
        "ours → ours receiver rss": 1.0,
    }


def test_without_the_official_pair_there_are_no_ratios() -> None:
    assert ratios([_transfer(UP, 30.0, 1.0)]) == {}


def test_the_table_has_a_line_for_each_pair() -> None:
    lines = table([_transfer(OFFICIAL, 10.0, 2.0), _transfer(UP, 30.0, 1.0), _transfer(UP, 20.0, 3.0)])
    found = [line.split("  ")[0] for line in lines.splitlines()]
    assert found[1:3] == [OFFICIAL, UP]
    assert "(20.0–30.0)" in lines


def test_all_is_every_scenario_and_each_compares_with_the_official_pair() -> None:
    assert list(chosen(["all"])) == list(SCENARIOS.values())
    assert [scenario.about for scenario in chosen(["lossy", "lossy"])] == [SCENARIOS["lossy"].about]
    for scenario in SCENARIOS.values():
        assert OFFICIAL in scenario.pairs
        assert all(load.bytes % load.block == 0 for load in scenario.loads)
