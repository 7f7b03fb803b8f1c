"""Preparing the database of a farm."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

from ...support.farm_home import FarmHome


def test_no_file_of_a_new_database_is_ever_readable_by_others(tmp_path: Path) -> None:
    farm = FarmHome(tmp_path / "home", SEEDERFARM_BROKER_ACCOUNTS="off")  # no broker to wait for
    farm.home.mkdir()
    farm.home.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "seederfarm.supervisor.prepare"],
        env=farm.env, capture_output=True, text=True, check=True, umask=0o022,
    )  # fmt: skip
    assert json.loads(done.stdout)["migrated"]
    # The checks look while SQLite has its files open; what they say is a line of a log each
    (line,) = done.stderr.splitlines()
    home = farm.home
    assert line == f"Others on this machine may read or write {home}. chmod 700 {home} (farm.W001)"
    assert all(not stat.S_IMODE(path.stat().st_mode) & 0o077 for path in home.rglob("*"))
