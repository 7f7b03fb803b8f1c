"""The files of SEEDERFARM_HOME that a backup holds, and writing files that are on disk when done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from ..settings.table import CONFIG_FILE

CONTROL_KEY: Final = "control_key"
SINGLE_FILES: Final = (CONTROL_KEY, "secret_key", "flower_secret", CONFIG_FILE)
FOLDERS: Final = ("secrets", "lists")
"""Secrets of a farm in containers; files of sources."""
OF_THIS_HOST: Final = ("database_", "redis")
"""Secrets that begin so are also known to the database server and the broker beside them, which make their
own elsewhere. The broker's authority (`ca.crt`, `ca.key`) is backed up: workers trust no other."""
REPLACED: Final = ".replaced-"
"""In the names of files that a restore put aside."""
CHUNK: Final = 1 << 20


def names(home: Path) -> Iterator[str]:
    """Relative paths of the files to back up that exist, links not followed. Raises OSError."""
    for name in SINGLE_FILES:
        if (home / name).is_file():
            yield name
    for folder in FOLDERS:
        for path in sorted((home / folder).rglob("*")):
            of_host = folder == "secrets" and path.name.startswith(OF_THIS_HOST)
            aside = REPLACED in path.name
            if path.is_file() and not path.is_symlink() and not of_host and not aside:
                yield path.relative_to(home).as_posix()


def copy(source: Path, target: Path) -> None:
    """Copy the content into a new file with mode 0600, on disk when done; makes directories with mode 0700.
    Raises OSError."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with source.open("rb") as reader, create(target) as writer:
        while chunk := reader.read(CHUNK):
            writer.write(chunk)
    sync(target)


def create(path: Path) -> BinaryIO:
    """Open a new file with mode 0600. Raises OSError, also where it exists."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def sync(path: Path) -> None:
    """Write a file or a directory through to the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
