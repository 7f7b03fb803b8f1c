"""A whole run begins with what takes long."""

from __future__ import annotations

import pytest

from ..support.order import LONG, rank
from ..support.paths import ROOT


def test_whole_farms_come_before_peers_and_those_before_units() -> None:
    units, peers, farms = (
        "tests/farmwire/test_join.py::a",
        "tests/e2e/test_live.py::b",
        "tests/scenes/test_x.py::c",
    )
    assert sorted([units, peers, farms], key=rank) == [farms, peers, units]


@pytest.mark.parametrize("folder", LONG)
def test_the_folders_exist(folder: str) -> None:
    assert (ROOT / folder).is_dir()


def test_the_order_of_files_is_kept_for_the_processes_of_a_run() -> None:
    """By itself xdist begins with the files that have most tests, and leaves a long one to the end."""
    assert "--dist loadfile --no-loadscope-reorder" in (ROOT / "farm").read_text()
