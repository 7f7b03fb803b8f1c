"""What the benchmark of the gateway makes of its measurements."""

from __future__ import annotations

from benchmarks.gateway import OURS, Fetched, table


def _fetched(server: str, speed: float, cpu: float) -> Fetched:
    return Fetched(
        server=server, mb_per_s=speed, cpu=cpu, first_byte_ms=12.34, middle_ms=5.0, peak_rss=100_000_000
    )


def test_the_table_has_medians_and_ratios() -> None:
    fetched = [_fetched(OURS, speed, 2.0) for speed in (300.0, 900.0, 100.0)]
    fetched += [_fetched("serve-drive", 200.0, 4.0)]
    lines = table(fetched).splitlines()
    assert lines[2] == "| ours | 300 | 2.00 | 12.3 | 5.0 | 100 |"
    assert lines[3].startswith("| serve-drive | 200 | 4.00 |")
    assert lines[-1] == "ours / serve-drive: 1.50 of the speed at 0.50 of the CPU"


def test_without_ours_there_are_no_ratios() -> None:
    assert "ours" not in table([_fetched("blob-server", 1.0, 1.0)])
