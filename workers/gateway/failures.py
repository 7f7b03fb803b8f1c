"""Errors of reading, as answers."""

from __future__ import annotations

from hypercore.errors import (
    BlockNotAvailable,
    HypercoreError,
    InvalidContent,
    InvalidPath,
    LocalProtocolError,
    SnapshotNotAvailable,
    StorageError,
)
from hypercore.printable import visible

from .protocol import Code, Failed

MAX_TEXT = 400
"""Characters of an error's text."""

RETRY_COPY = 30
"""Seconds after which a copy may have been found."""


class ReadingFailed(HypercoreError):
    """Something cannot be read, for a reason that is reported to the client."""

    code = "READING_FAILED"

    def __init__(self, reason: Code, text: str, *, retry: int = 0) -> None:
        super().__init__(text)
        self.reason: Code = reason
        self.retry = retry


def failed(error: HypercoreError) -> Failed:
    """The answer for an error."""
    if isinstance(error, ReadingFailed):
        return _failed(error.reason, str(error), error.retry)
    if isinstance(error, InvalidPath):
        return _failed("missing", f"No drive can have this path: {error}.")
    if isinstance(error, SnapshotNotAvailable | LocalProtocolError):
        return _failed("rewritten", "The drive was rewritten by its publisher while it was read.", 1)
    if isinstance(error, InvalidContent):
        return _failed("invalid", f"The publisher wrote something that cannot be read: {error}.")
    if isinstance(error, BlockNotAvailable):
        return _failed("unavailable", f"No copy that can be reached has this content: {error}.", RETRY_COPY)
    if isinstance(error, StorageError):
        return _failed("unavailable", f"The copy on this machine cannot be read: {error}.", RETRY_COPY)
    return _failed("unavailable", f"It cannot be read now: {error}.", RETRY_COPY)


def _failed(code: Code, text: str, retry: int = 0) -> Failed:
    shown = visible(text)
    return Failed(code=code, text=shown if len(shown) <= MAX_TEXT else shown[:MAX_TEXT] + "…", retry=retry)
