"""The order of a whole run: what takes long begins first, so that no long file is left for one process at the
end."""

from __future__ import annotations

from typing import Final

LONG: Final = (
    "tests/scenes/",
    "tests/nat/",
    "tests/e2e/",
    "hypercore-py/tests/interop/",
    "tests/workers/gateway/",
    "tests/seederfarm/supervisor/",
    "tests/seederfarm/cli/",
)
"""Folders whose tests wait for other processes, those with the longest files first."""


def rank(nodeid: str) -> int:
    """Where a test belongs: tests of lower ranks begin first."""
    return next((number for number, folder in enumerate(LONG) if nodeid.startswith(folder)), len(LONG))
