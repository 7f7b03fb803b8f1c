"""Refuse modules that have become too long to read: sources and tests alike.

python tools/sizes.py   list those over the limit (exit status 1 if there are any)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
ROOMS: Final = (
    "benchmarks",
    "dashboard",
    "farmwire",
    "hypercore-py",
    "seederfarm",
    "tests",
    "tools",
    "workers",
)
MAX_LINES: Final = 500
SKIPPED: Final = frozenset({"migrations", "node_modules", ".venv", "build"})
"""Folders of generated and foreign modules."""


def modules(root: Path = ROOT) -> Iterator[Path]:
    """The Python modules of the repository that people write."""
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            if not SKIPPED & set(path.relative_to(root).parts):
                yield path


def too_long(root: Path = ROOT) -> list[tuple[int, str]]:
    """Return the lines and the name of each module that has too many, the longest first."""
    counted = [(path.read_text().count("\n"), str(path.relative_to(root))) for path in modules(root)]
    return sorted((item for item in counted if item[0] > MAX_LINES), reverse=True)


def main() -> int:
    found = too_long()
    for lines, name in found:
        print(f"{name}: {lines} lines; the limit is {MAX_LINES}. Split it where its subject changes.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
