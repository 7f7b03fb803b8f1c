"""Metadata of each file at publishing time: avoids reading all files at a restart.

The drive overrides it: a record is valid only for the entry (its block of the db) that it was made for. A
lost or damaged index costs time, nothing else.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from .folder import Fingerprint

INDEX_FILE = "published.json"

FORMAT = 1


class PublishedIndex:
    """The published files of a folder, kept in the file `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records = _load(path)
        self._dirty = False

    def is_unchanged(self, path: str, seq: int, fingerprint: Fingerprint) -> bool:
        """Whether the entry in block `seq` was made from a file with exactly this metadata."""
        return self._records.get(path) == (seq, fingerprint)

    def record(self, path: str, seq: int, fingerprint: Fingerprint) -> None:
        """Set the metadata of the file behind the entry in block `seq`. In memory until `save`."""
        self._records[path] = (seq, fingerprint)
        self._dirty = True

    def discard(self, path: str) -> None:
        self._dirty |= self._records.pop(path, None) is not None

    def save(self) -> None:
        """Write to a temporary file and rename it. Raises OSError."""
        if not self._dirty:
            return
        files = {path: [seq, *fingerprint] for path, (seq, fingerprint) in self._records.items()}
        aside = self._path.with_name(self._path.name + ".new")
        with suppress(FileNotFoundError):
            aside.unlink()
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump({"format": FORMAT, "files": files}, out)
        aside.rename(self._path)
        self._dirty = False


def _load(path: Path) -> dict[str, tuple[int, Fingerprint]]:
    try:
        found = json.loads(path.read_text())
        if found["format"] != FORMAT:
            return {}
        return {
            str(name): (int(seq), Fingerprint(int(size), int(changed), int(inode)))
            for name, (seq, size, changed, inode) in found["files"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
