"""The farm's own worker, as the supervisor starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seederfarm.supervisor.programs.worker import token_file


@pytest.mark.slow
@pytest.mark.parametrize(
    ("token", "variables", "expected"),
    [
        ("nonsense", {}, "token"),
        ("nonsense", {"SEEDERFARM_RELAY": "nonsense"}, "SEEDERFARM_RELAY"),
    ],
)
def test_what_it_cannot_start_with_is_one_line(
    tmp_path: Path, token: str, variables: dict[str, str], expected: str
) -> None:
    token_file(tmp_path).parent.mkdir()
    token_file(tmp_path).write_text(token + "\n")
    ended = subprocess.run(
        [sys.executable, "-m", "seederfarm.supervisor.programs.worker"],
        env={**os.environ, "SEEDERFARM_HOME": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("seederfarm worker run: ") and expected in line
