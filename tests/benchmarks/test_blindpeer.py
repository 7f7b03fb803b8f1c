"""What the benchmark of blind peers makes of its measurements."""

from __future__ import annotations

from benchmarks.blindpeer import OFFICIAL, OURS, Kept, table


def kept(server: str, factor: int) -> Kept:
    return Kept(
        server=server,
        clients=10,
        cores=100,
        seconds=2.0 * factor,
        cpu=1.0 * factor,
        memory=1_000_000 * factor,
        again_seconds=0.5 * factor,
        again_cpu=0.25 * factor,
    )


def test_ours_is_shown_as_a_part_of_the_official_one() -> None:
    lines = [line.split() for line in table([kept(OFFICIAL, 4), kept(OURS, 1)]).splitlines()]
    assert lines[1][1:4] == ["8.00", "4.00", "40.00"]
    assert lines[3][1:] == ["0.25×"] * 5


def test_one_server_alone_has_no_ratio() -> None:
    assert len(table([kept(OURS, 1)]).splitlines()) == 2
