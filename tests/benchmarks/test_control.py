from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.control import sizes

from ..support.paths import ROOT


def test_the_benchmark_measures_farms_of_the_sizes_it_is_given() -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "control",
        "--sqlite",
        "--sizes",
        "30",
        "--workers",
        "5",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["30"]


def test_sizes_are_written_as_people_say_them() -> None:
    assert sizes("500,10k,1M") == [500, 10_000, 1_000_000]
    with pytest.raises(Exception, match="10k,100k,1m"):
        sizes("many")
