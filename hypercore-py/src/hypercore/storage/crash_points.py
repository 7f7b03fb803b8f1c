"""Names of the moments between which a flush can be cut off, for tests that cut it off at each of them."""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class CrashPoint(Enum):
    """What is about to happen, except for the last of each kind of file work, which has happened."""

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
    """Called with the step and the path, offset and size it is about (empty and 0 where there is none)."""

    def __call__(self, step: CrashPoint, path: str = "", offset: int = 0, size: int = 0) -> None: ...


def ignore(step: CrashPoint, path: str = "", offset: int = 0, size: int = 0) -> None:
    """No test is watching."""
