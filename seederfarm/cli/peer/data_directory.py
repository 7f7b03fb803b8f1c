"""The data directory as the reading commands find it: ours, in use, of another user, read-only, missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from hypercore.core import Store, disk_store, read_only_store
from hypercore.errors import StorageError, StoreLocked
from hypercore.storage.disk import DATABASE_NAME

from ..common.failures import Failure


class Opened(NamedTuple):
    """A store, and why it can only be read, if so."""

    store: Store
    reason: str | None = None


def has_store(data: Path) -> bool:
    """Whether there is a store in that directory. Raises OSError if it may not be looked into."""
    return (data / DATABASE_NAME).exists()


def open_store(data: Path) -> Opened:
    """The store of a data directory: locked and writable where that is ours to do, else as it is now.

    In a directory of another user nothing is written even where it could be (by root): what is new there
    would not be that user's. Raises StorageError.
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
        raise error from None  # it says more


def require_store(data: Path) -> None:
    """Raises Failure where there is none."""
    if not has_store(data):
        raise Failure(f"there is nothing at {data}")
