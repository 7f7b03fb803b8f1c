"""Limits how much is read at once: by all clients, and by each."""

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
MAX_PUBLIC: Final = 24
"""Of those, streams of all clients without a login: people of the farm have the rest. Ours."""
MAX_PUBLIC_EACH: Final = 6
"""Of those, streams of one address: a browser opens as many. Ours."""
RETRY: Final = 5
"""Seconds after which a refused client may try again."""


class Slots:
    """Counts streams."""

    def __init__(self, max_readers: int = MAX_READERS, max_each: int = MAX_READERS_EACH) -> None:
        self._max_readers = max_readers
        self._max_each = max_each
        self._taken: Counter[str] = Counter()
        self._public: Counter[str] = Counter()
        """Those of clients without a login, which are in `_taken` too."""

    @property
    def taken(self) -> int:
        """Number of streams now, of all clients."""
        return self._taken.total()

    @contextmanager
    def taken_by(self, client: str, *, is_public: bool = False) -> Iterator[None]:
        """Context manager: one more stream of this client. Raises ReadingFailed if all are taken."""
        if self.taken >= self._max_readers:
            raise ReadingFailed(
                "busy", "Too many files are read at once; try again in a moment.", retry=RETRY
            )
        if is_public and self._public.total() >= MAX_PUBLIC:
            raise ReadingFailed("busy", "Too many visitors read files; try again in a moment.", retry=RETRY)
        if self._taken[client] >= (min(MAX_PUBLIC_EACH, self._max_each) if is_public else self._max_each):
            raise ReadingFailed("busy", "You read too many files at once.", retry=RETRY)
        counted = (self._taken, self._public) if is_public else (self._taken,)
        for streams in counted:
            streams[client] += 1
        try:
            yield
        finally:
            for streams in counted:
                streams[client] -= 1
                if not streams[client]:
                    del streams[client]
