"""The golden vectors: cases that were recorded from the official packages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "vectors"


def load(family: str) -> list[dict[str, Any]]:
    """Return the cases of a file: `data/keys`, `transport/hashes` and so on."""
    cases: list[dict[str, Any]] = json.loads((FOLDER / f"{family}.json").read_text())
    return cases


def load_named(family: str) -> dict[str, dict[str, Any]]:
    """Return the cases of a file by their names."""
    return {case["name"]: case for case in load(family)}
