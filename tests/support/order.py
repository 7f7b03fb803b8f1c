"""The order of a whole run: files that wait for other processes between files that compute, so that the cores
always have work, and none of the long ones at the end, where one process would work and two wait."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

LONG: Final = (
    "tests/scenes/",
    "tests/browser/",
    "tests/nat/",
    "tests/e2e/",
    "hypercore-py/tests/interop/",
    "tests/workers/gateway/",
    "tests/seederfarm/supervisor/",
    "tests/seederfarm/cli/",
)
"""Folders whose tests wait for other processes, those with the longest files first."""

LONG_UNTIL: Final = 0.8
"""Part of the files after which no long one begins."""


def places(nodeids: Iterable[str]) -> dict[str, float]:
    """Where each file of these tests belongs: files with lower numbers begin first."""
    files = dict.fromkeys(nodeid.partition("::")[0] for nodeid in nodeids)
    long = sorted((file for file in files if file.startswith(LONG)), key=_rank)
    short = [file for file in files if not file.startswith(LONG)]
    return {file: LONG_UNTIL * number / len(long) for number, file in enumerate(long)} | {
        file: (number + 0.5) / len(short) for number, file in enumerate(short)
    }


def _rank(file: str) -> int:
    return next(number for number, folder in enumerate(LONG) if file.startswith(folder))
