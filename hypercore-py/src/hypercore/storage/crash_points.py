"""Steps of a flush, for tests that stop it at each of them."""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class CrashPoint(Enum):
    """The next step, except for the last one of each kind of file work, which is done."""

    CREATE_FILE = "create a block file"
    WRITE = "write blocks into a file"
    WROTE = "blocks are written, not yet synced"
    SYNC = "sync a block file"
    SYNC_DIRECTORY = "sync the directory of a new block file"
    SYNCED = "a block file is synced"
    BEGIN = "begin the transaction"
    ROW = "write a core into the transaction"
    COMMIT = "commit the transaction"
    COMMITTED = "the transaction is committed"
    FREE = "free room in a block file"
    UNLINK = "delete a block file"


class OnCrashPoint(Protocol):
    """Called with the step, and its path, offset and size (empty and 0 without one)."""

    def __call__(self, step: CrashPoint, path: str = "", offset: int = 0, size: int = 0) -> None: ...


def ignore(step: CrashPoint, path: str = "", offset: int = 0, size: int = 0) -> None:
    """The default: do nothing."""
