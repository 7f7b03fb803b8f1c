"""Sizes, rates, durations and counts: read in one grammar wherever they are given, and written for people."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from seederfarm.cli.worker.run import run
from seederfarm.settings.load import load
from workers import units
from workers.engine.settings.settings import limits_from

SIZES = [
    ("0", 0),
    ("1000", 1000),
    ("5 B", 5),
    ("500k", 500_000),
    ("1kB", 1000),
    ("64 MiB", 64 << 20),
    ("500G", 500_000_000_000),
    ("500GB", 500_000_000_000),
    ("500GiB", 500 << 30),
    ("500gi", 500 << 30),
    ("1.5T", 15 * 10**11),
    ("9007199254740993", 9007199254740993),
    ("0.1P", 10**14),
]


@pytest.mark.parametrize(("text", "size"), SIZES)
def test_sizes_are_decimal_and_binary_only_with_an_i(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "many", "-1", "1 X", "1e9", "\u0663", "1,5G", "5Gb/s", "1" * 20, "9E", "inf", "0x10"]
)
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size such as 500G, 64MiB or 1000000"):
        units.parse_size(text)


def test_a_size_beyond_what_a_database_holds_is_refused() -> None:
    assert units.parse_size(str(2**63 - 1)) == 2**63 - 1
    with pytest.raises(ValueError, match="more than any disk has"):
        units.parse_size("9999P")
    with pytest.raises(ValueError, match="more than any disk has"):
        units.parse_size(str(2**63))


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("2M", 2_000_000),
        ("2 MB/s", 2_000_000),
        ("4Mi/s", 4 << 20),
        ("1024", 1024),
        ("none", None),
        ("OFF", None),
    ],
)
def test_rates_are_sizes_a_second(text: str, rate: int | None) -> None:
    assert units.parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1.5m", 90),
        ("24h", 86400),
        ("30 d", 2592000),
        ("2W", 1209600),
        ("500ms", 0.5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds
    assert units.parse_duration(units.exact_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1 year", "1h30m", "1e3", "\u0665s"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 90s, 15m, 24h or 30d"):
        units.parse_duration(text)


def test_counts_may_have_separators() -> None:
    assert units.parse_count("1_000,000") == 1_000_000
    for text in ("", "-1", "1.5", "_1", "\u0661", "9" * 40, "5x"):
        with pytest.raises(ValueError, match="expected a whole number"):
            units.parse_count(text)


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1024, 64 << 20, 5 * 10**11, 3 << 40, 12_345_678])
def test_an_exact_size_is_read_back(size: int) -> None:
    assert units.parse_size(units.exact_size(size)) == size


def test_two_options_of_one_command_and_the_farm_agree(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`--quota 500G` was 536,870,912,000 bytes once, and `--keep-free 500G` 500,000,000,000."""
    limits = limits_from({"SEEDERFARM_MAX_BYTES": "500G"}, keep_free="500G")
    assert limits.max_bytes == limits.keep_free == 500_000_000_000
    loaded = load(
        {"SEEDERFARM_HOME": str(tmp_path_factory.mktemp("home")), "SEEDERFARM_SOURCE_MEMORY": "500G"}
    )
    assert loaded.checked().source_memory == 500_000_000_000
    [quota] = [option for option in run.params if option.name == "quota"]
    assert quota.type.convert("500G", quota, None) == 500_000_000_000


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--quota", "much", "expected a size such as 500G"),
        ("--keep-free", "much", "expected a size such as 500G"),
        ("--up", "fast", "expected a rate such as 2M"),
        ("--bootstrap", "host:99999", "port from 1 to 65535"),
        ("--bootstrap", "host", "expected HOST:PORT"),
        ("--max-peers", "0", "expected a whole number from 1 to 60000"),
        ("--max-blocks", "0", "expected a number of blocks"),
    ],
)
def test_a_wrong_option_of_a_worker_is_named_with_what_was_expected(
    option: str, value: str, expected: str
) -> None:
    result = CliRunner().invoke(run, [option, value])
    assert result.exit_code == 2
    assert option in result.output and repr(value) in result.output and expected in result.output


def test_the_table_of_peers_and_the_units_need_no_django() -> None:
    script = (
        "import sys, workers.settings.table, workers.units\n"
        "heavy = {'django', 'celery', 'sqlalchemy', 'redis'} & sys.modules.keys()\n"
        "sys.exit(f'loads {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_ages_and_durations_are_rounded_for_people() -> None:
    assert [units.format_duration(seconds) for seconds in (12, 300, 7200, 200_000)] == [
        "12 s", "5 min", "2 h", "2 days",
    ]  # fmt: skip
    assert [units.format_age(seconds) for seconds in (3, 60, -300)] == ["just now", "1 min ago", "in 5 min"]
