"""The official JavaScript packages, which the farm's repository installs beside its tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_NODE_MODULES = Path(__file__).resolve().parents[3] / "tests" / "peers" / "node_modules"


def official_packages(package: str) -> Path:
    """Return the node_modules folder that has `package`. Skip the test without it; with CI=true, fail it."""
    if shutil.which("node") and (_NODE_MODULES / package).is_dir():
        return _NODE_MODULES
    reason = "the official JavaScript packages are not installed: run `npm ci` in tests/peers"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
