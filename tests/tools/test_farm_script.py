"""`./farm` in a checkout of its own, with an invented Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from ..support.paths import ROOT

PYTHON: Final = """#!/bin/sh
[ "${1-}" = stay ] && read -r line
exit 0
"""
"""Every command of it succeeds at once; with `stay` it runs until its input ends."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Whose packages are installed and whose requirements have changed since."""
    shutil.copy(ROOT / "farm", tmp_path)
    for name in (
        "pyproject.toml",
        "hypercore-py/pyproject.toml",
        "requirements/base.txt",
        "seederfarm/__init__.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for name in ("python", "seederfarm"):
        path = tmp_path / ".venv" / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PYTHON)
        path.chmod(0o755)
    assert farm(tmp_path).returncode == 0
    (tmp_path / "requirements/base.txt").write_text("later==2\n")
    return tmp_path


def farm(checkout: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "farm", "keygen"], capture_output=True, text=True, timeout=60, check=False
    )


def test_nothing_is_installed_under_a_process_that_runs(checkout: Path) -> None:
    """It would import modules of other versions later."""
    stamps = [checkout / ".venv" / name for name in (".farm-base", ".farm-pins")]
    before = [stamp.read_text() for stamp in stamps]
    python = str(checkout / ".venv" / "bin" / "python")
    with subprocess.Popen([python, "stay"], stdin=subprocess.PIPE) as running:
        refused = farm(checkout)
        assert refused.returncode == 1
        assert "the requirements have changed" in refused.stderr and f"({running.pid})" in refused.stderr
        assert "installing" not in refused.stderr
        assert [stamp.read_text() for stamp in stamps] == before
        assert running.stdin is not None
        running.stdin.close()
    done = farm(checkout)
    assert done.returncode == 0 and "installing requirements/base.txt" in done.stderr
    assert all(stamp.read_text() != old for stamp, old in zip(stamps, before, strict=True))
