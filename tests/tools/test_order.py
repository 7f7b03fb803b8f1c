"""The order of a whole run."""

from __future__ import annotations

import itertools

import pytest

from ..support.order import LONG, LONG_UNTIL, places
from ..support.paths import ROOT


def test_long_files_are_spread_among_short_ones_and_end_before_them() -> None:
    long = [f"tests/e2e/test_{number}.py" for number in range(10)] + ["tests/scenes/test_x.py"]
    short = [f"tests/farmwire/test_{number}.py" for number in range(90)]
    found = places(f"{file}::test_it" for file in [*short, *long])
    order = sorted(found, key=lambda file: found[file])
    assert sorted(order) == sorted([*short, *long])
    assert order[0] == "tests/scenes/test_x.py", "the longest first"
    where = [order.index(file) for file in long]
    assert max(where) < LONG_UNTIL * len(order)
    gaps = [after - before for before, after in zip(sorted(where), sorted(where)[1:], strict=False)]
    assert min(gaps) > 3, "never many at once"


def test_files_of_a_folder_are_far_from_each_other() -> None:
    scenes = [f"tests/scenes/test_{number}.py" for number in range(8)]
    others = [f"tests/e2e/test_{number}.py" for number in range(40)]
    short = [f"tests/farmwire/test_{number}.py" for number in range(150)]
    found = places(f"{file}::test_it" for file in [*short, *others, *scenes])
    order = sorted(found, key=lambda file: found[file])
    where = [order.index(file) for file in scenes]
    assert where[0] == 0
    assert min(after - before for before, after in itertools.pairwise(where)) > 15


@pytest.mark.parametrize("folder", LONG)
def test_the_folders_exist(folder: str) -> None:
    assert (ROOT / folder).is_dir()


def test_the_order_of_files_is_kept_for_the_processes_of_a_run() -> None:
    """By itself xdist begins with the files that have most tests, and leaves a long one to the end."""
    assert "--dist loadfile --no-loadscope-reorder" in (ROOT / "farm").read_text()
