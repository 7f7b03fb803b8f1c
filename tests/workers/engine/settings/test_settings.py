"""Rates by the time of day, and limits from options and variables."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from workers.engine.settings.settings import limits_from
from workers.settings.rate_schedule import RateSchedule, parse_rate_schedule
from workers.settings.table import SettingError

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """Of a week that begins on a Monday."""
    return MONDAY.replace(day=5 + day, hour=hour, minute=minute)


def test_a_rate_alone_counts_at_all_times() -> None:
    table = parse_rate_schedule("2.5M")
    assert table == RateSchedule(otherwise=2_500_000)
    assert table.rate_at(at(0, 3)) == 2_500_000
    assert parse_rate_schedule("none").rate_at(at(0, 3)) is None
    assert parse_rate_schedule("1Mi/s").rate_at(at(0, 3)) == 1 << 20


def test_the_first_span_that_covers_the_time_counts() -> None:
    table = parse_rate_schedule("08:00-18:00=1M, 17:00-20:00=2M, *=10M")
    assert [table.rate_at(at(2, *time)) for time in ((7, 59), (8, 0), (17, 59), (18, 0), (20, 0))] == [
        10_000_000,
        1_000_000,
        1_000_000,
        2_000_000,
        10_000_000,
    ]


def test_without_a_rest_there_is_no_limit_in_between() -> None:
    table = parse_rate_schedule("8:00-9:00=1M")
    assert (table.rate_at(at(0, 8, 30)), table.rate_at(at(0, 9))) == (1_000_000, None)
    assert table.limits


def test_a_span_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    table = parse_rate_schedule("fri-sun 22:00-06:00=5M, *=1M")
    assert table.rate_at(at(3, 23)) == 1_000_000  # Thursday
    assert table.rate_at(at(4, 23)) == 5_000_000
    assert table.rate_at(at(5, 5, 59)) == 5_000_000
    assert table.rate_at(at(5, 6)) == 1_000_000
    assert table.rate_at(at(0, 5)) == 5_000_000  # begun on Sunday
    assert table.rate_at(at(4, 5)) == 1_000_000


def test_days_may_go_round_the_week_and_be_one() -> None:
    table = parse_rate_schedule("sat-mon 00:00-24:00=none, wed 00:00-24:00=2M, *=1M")
    assert [table.rate_at(at(day, 12)) for day in range(7)] == [
        None, 1_000_000, 2_000_000, 1_000_000, 1_000_000, None, None,
    ]  # fmt: skip


def test_the_hour_that_comes_twice_has_the_same_rate_both_times() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    table = parse_rate_schedule("02:00-03:00=1M, *=2M")
    for fold in (0, 1):
        assert table.rate_at(datetime(2026, 10, 25, 2, 30, fold=fold, tzinfo=berlin)) == 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "2M",
        "none",
        "08:00-18:00=1000000, *=10000000",
        "sat-mon 22:00-06:00=none, wed 10:00-00:00=5000, *=2000",
    ],
)
def test_a_timetable_can_be_written_down_and_read_again(text: str) -> None:
    table = parse_rate_schedule(text)
    assert parse_rate_schedule(str(table)) == table


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("fast", "'fast' is not a rate: expected a rate such as 2M"),
        ("", "expected a rate such as 2M"),
        ("100", "expected at least 1024 bytes a second; `none` is no limit"),
        ("08:00-18:00", "expected a rate such as 2M .*timetable such as mon-fri"),
        ("08:00-18:00=1M, 2M", "'2M' has no rate; expected such as"),
        ("8-18=1M", "'8-18' is not HH:MM-HH:MM"),
        ("25:00-26:00=1M", "a time that no day has"),
        ("08:60-09:00=1M", "a time that no day has"),
        ("moo-fri 08:00-09:00=1M", "'moo' is not a day"),
        ("*=1M, 08:00-09:00=2M", "comes after \\* and would never count"),
        ("08:00-18:00=fast", "'fast' is not a rate"),
    ],
)
def test_a_malformed_timetable_is_refused_with_what_was_expected(text: str, reported: str) -> None:
    with pytest.raises(SettingError, match=f"^--up: .*{reported}"):
        limits_from({}, up=text)


def test_options_go_before_the_environment_and_errors_name_the_culprit() -> None:
    environ = {"SEEDERFARM_UP": "1M", "SEEDERFARM_DOWN": "2M", "SEEDERFARM_MAX_BYTES": "5G"}
    limits = limits_from(environ, up="3M", keep_free="1G")
    assert (limits.up.otherwise, limits.down.otherwise) == (3_000_000, 2_000_000)
    assert (limits.max_bytes, limits.keep_free) == (5_000_000_000, 1_000_000_000)
    with pytest.raises(SettingError, match=r"^SEEDERFARM_KEEP_FREE: "):
        limits_from({"SEEDERFARM_KEEP_FREE": "much"})
    assert limits_from({"SEEDERFARM_MAX_PEERS": "99"}).max_peers == 99
    assert limits_from({}).max_blocks == 1 << 25
    assert limits_from({"SEEDERFARM_MAX_BLOCKS": "1_000_000"}, max_blocks="5").max_blocks == 5
    assert limits_from({"SEEDERFARM_MAX_BLOCKS": "1,000,000"}).max_blocks == 1_000_000
    assert limits_from({"SEEDERFARM_MAX_BLOCKS": "5"}, max_blocks="none").max_blocks is None
    for wrong in ("0", "-1", "many", "1e9", "9" * 40):
        with pytest.raises(SettingError, match=r"^--max-blocks: .* expected a number of blocks .*`none`"):
            limits_from({}, max_blocks=wrong)
    for wrong in ("0", "-1", "many", "60001"):
        with pytest.raises(SettingError, match=r"^--max-peers: .* expected a whole number from 1 to 60000"):
            limits_from({}, max_peers=wrong)
