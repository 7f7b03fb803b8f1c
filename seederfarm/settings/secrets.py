"""Files that only their owner may read; made on first use."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path


def private_directory(path: Path) -> Path:
    """Make a directory (and its parents) with mode 0700. An existing one stays unchanged. Raises OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def secret_file(path: Path, make: Callable[[], bytes]) -> bytes:
    """Contents of the file. A missing file is made from `make()` with mode 0600; when two processes make it
    at once, both return the same contents.

    Raises OSError. A file that others may read is read too: the system checks report it.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    private_directory(path.parent)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 already
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # fails when another process was first: its file is used
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path.read_bytes()


def foreign(folder: Path) -> str | None:
    """Why a directory is not private to us; None if it is, or does not exist.

    In a directory that every user may write to, another user may have made it first, or put
    a link in its place.
    """
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(found.st_mode):
        return f"{folder} is no directory"
    if found.st_uid != os.geteuid():
        return f"{folder} belongs to another user ({found.st_uid})"
    if stat.S_IMODE(found.st_mode) & 0o022:
        return f"others may write to {folder}"
    return None


def too_open(path: Path) -> bool:
    """Whether users other than the owner may read or write the file. Raises OSError."""
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
