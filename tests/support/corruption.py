"""Corrupts stored bytes on purpose, whatever the layout on disk."""

from __future__ import annotations

import mmap
from pathlib import Path

NEEDLE = 64
"""Bytes of a block that are looked for: enough to be unique, few enough to lie in one database page."""


def find(folder: Path, block: bytes) -> list[tuple[Path, int]]:
    """Where the middle of that block lies in files under `folder`: (file, offset)."""
    middle = len(block) // 2
    needle = block[middle : middle + NEEDLE]
    assert len(needle) == NEEDLE
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.stat().st_size == 0:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            at = view.find(needle)
            while at >= 0:
                found.append((path, at))
                at = view.find(needle, at + 1)
    return found


def flip(folder: Path, block: bytes) -> None:
    """Flips one bit of the stored block, in every place where it is stored."""
    places = find(folder, block)
    assert places, f"the block is nowhere under {folder}"
    for path, offset in places:
        with path.open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 0x10]))
