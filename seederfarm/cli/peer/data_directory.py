"""Opens the data directory for reading commands: ours, in use, another user's, read-only, or missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from hypercore.core import Store, disk_store, read_only_store
from hypercore.errors import StorageError, StoreLocked
from hypercore.storage.disk import DATABASE_NAME

from ..common.failures import Failure


class Opened(NamedTuple):
    """A store, and the reason if it is read-only."""

    store: Store
    reason: str | None = None


def has_store(data: Path) -> bool:
    """Whether that directory has a store. Raises OSError if it may not be read."""
    return (data / DATABASE_NAME).exists()


def open_store(data: Path) -> Opened:
    """Open the store of a data directory: locked and writable where allowed, else read-only as it is now.

    Nothing is written into another user's directory, even by root: new files would not belong to that user.
    Raises StorageError.
    """
    if data.stat().st_uid != os.geteuid():
        return Opened(read_only_store(data), "it belongs to another user")
    try:
        return Opened(disk_store(data))
    except StoreLocked as error:
        return Opened(_without_lock(data, error), "another process has it")
    except StorageError as error:
        return Opened(_without_lock(data, error), "it cannot be written")


def _without_lock(data: Path, error: StorageError) -> Store:
    try:
        return read_only_store(data)
    except StorageError:
        raise error from None  # its text is more precise


def require_store(data: Path) -> None:
    """Check that the directory has a store. Raises Failure where there is none."""
    if not has_store(data):
        raise Failure(f"there is nothing at {data}")
