"""What a test needs from its machine."""

from __future__ import annotations

import os

import pytest


def is_ci() -> bool:
    return os.environ.get("CI") == "true"


def require(missing: str | None) -> None:
    """Skip the test when something is missing, with that reason; with CI=true, fail it. None: nothing is."""
    if missing is None:
        return
    if is_ci():
        pytest.fail(missing)
    pytest.skip(missing)
