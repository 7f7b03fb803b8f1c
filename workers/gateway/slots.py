"""How much is read at once: by all clients, and by each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .failures import ReadingFailed

MAX_READERS: Final = 64
"""Streams of bytes at once. With READ_AHEAD_BYTES and the buffers of a stream, each holds some 5 MiB at most.
Ours."""
MAX_READERS_EACH: Final = 24
"""Of those, streams of one client: a browser opens six connections. Ours."""
RETRY: Final = 5
"""Seconds after which a refused client may try again."""


class Slots:
    """Counts streams."""

    def __init__(self, max_readers: int = MAX_READERS, max_each: int = MAX_READERS_EACH) -> None:
        self._max_readers = max_readers
        self._max_each = max_each
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        return self._taken.total()

    @contextmanager
    def taken_by(self, client: str) -> Iterator[None]:
        """Context manager: one more stream of this client. Raises ReadingFailed if all are taken."""
        if self.taken >= self._max_readers:
            raise ReadingFailed(
                "busy", "Too many files are read at once; try again in a moment.", retry=RETRY
            )
        if self._taken[client] >= self._max_each:
            raise ReadingFailed("busy", "You read too many files at once.", retry=RETRY)
        self._taken[client] += 1
        try:
            yield
        finally:
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]
