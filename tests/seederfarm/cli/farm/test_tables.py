"""Tables for people: keys and words stay whole, whatever the width."""

from __future__ import annotations

import pytest

from seederfarm.cli.farm.output import complete_of, copies_of, plain
from seederfarm.cli.farm.tables import Grid, lines_of

KEY = "7i8kaa7ucp" + "y" * 42
TITLE = "A title of several words that goes on for a while"


def drives(title: str = TITLE) -> Grid:
    grid = Grid(["key", "kind", "name", "state", "#size"], keys=["key"], spare=["kind"])
    grid.add_row(KEY, "drive", plain(title), "active, paused", "1.1 MB")
    return grid


def test_a_file_gets_everything_and_no_blanks_at_the_ends_of_lines() -> None:
    heading, row = lines_of(drives(), None)
    assert heading.split() == ["key", "kind", "name", "state", "size"]
    assert row.startswith(f"{KEY}  drive  {TITLE}  active, paused")
    for grid in (drives(), drives("")):
        grid.add_row("–", "", "", "", "")
        assert all(line == line.rstrip() for line in lines_of(grid, None))


def test_a_file_gets_whole_keys_and_words_beyond_its_usual_width() -> None:
    grid = drives("word " * 60 + "w" * 130)
    shown = lines_of(grid, None)
    assert shown[1].startswith(KEY)
    assert any("w" * 130 in line for line in shown)


@pytest.mark.parametrize("width", [53, 60, 80, 100])
def test_a_narrow_terminal_gets_short_keys_and_whole_words(width: int) -> None:
    shown = lines_of(drives(), width)
    assert all(len(line) <= width for line in shown)
    words = {word for line in shown for word in line.split()}
    assert "7i8kaa7ucp…" in words
    whole = f"key kind name state size 7i8kaa7ucp… drive {TITLE} active, paused 1.1 MB"
    assert words <= set(whole.split())
    assert any("active, paused" in line for line in shown), "short texts are not broken at all"


def test_a_wide_terminal_gets_whole_keys() -> None:
    assert KEY in lines_of(drives(), 140)[1]


def test_spare_columns_are_left_out_where_there_is_no_room_and_only_there() -> None:
    assert lines_of(drives(), 80)[0].split() == ["key", "kind", "name", "state", "size"]
    assert lines_of(drives(), 56)[0].split() == ["key", "name", "state", "size"]


def test_a_very_long_word_of_others_does_not_make_a_terminal_overflow() -> None:
    shown = lines_of(drives("w" * 300), 80)
    assert all(len(line) <= 80 for line in shown)
    assert sum(line.count("w") for line in shown) == 300
    assert all(len(line) <= 20 for line in lines_of(drives(), 20))


def test_numbers_are_on_the_right() -> None:
    grid = Grid(["name", "#copies"])
    grid.add_row("pi", "3")
    assert lines_of(grid, 80) == ["name  copies", "pi         3"]


def test_copies_are_counted_in_one_way() -> None:
    assert copies_of(2, 1, 2) == "2 of 2 complete (1 is enough to be safe)"
    assert copies_of(0, 2, 3) == "0 of 3 complete (2 are enough to be safe)"
    assert copies_of(1, 1, 1) == "1 of 1 complete"
    assert copies_of(3, 1, 2) == "3 complete, 2 wanted"
    assert (complete_of(2, 2), complete_of(3, 2)) == ("2 of 2", "3, 2 wanted")
