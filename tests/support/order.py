"""The order of a whole run.

Files that wait for other processes stand between files that compute, so that the cores always have work;
those of one folder stand far from each other, so that two whole farms seldom start side by side; and none
of the long ones stands at the end, where one process would work and the others wait.
"""

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
    folders: dict[str | None, list[str]] = {}
    for file in dict.fromkeys(nodeid.partition("::")[0] for nodeid in nodeids):
        folders.setdefault(next((folder for folder in LONG if file.startswith(folder)), None), []).append(
            file
        )
    short = folders.pop(None, [])
    found = {file: (number + 0.5) / len(short) for number, file in enumerate(short)}
    for folder, files in folders.items():
        # Without this part of a step, all folders would begin at once
        begin = LONG.index(folder) / len(LONG)
        for number, file in enumerate(sorted(files)):
            found[file] = LONG_UNTIL * (number + begin) / len(files)
    return found
