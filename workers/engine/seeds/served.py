"""Bytes served by key, since they were last asked for."""

from __future__ import annotations

from collections.abc import Iterable


class ServedCounter:
    """Takes counters that only grow; returns their growth. Keeps one number for each key that was ever
    served in this run."""

    def __init__(self) -> None:
        self._before: dict[bytes, int] = {}

    def take(self, counters: Iterable[tuple[bytes, int]]) -> dict[bytes, int]:
        """The growth of those that have grown. A key that is not among the `counters` stays as it was."""
        grown = {}
        for key, now in counters:
            more = now - self._before.get(key, 0)
            if more > 0:
                grown[key] = more
                self._before[key] = now
        return grown

    def remove(self, key: bytes) -> None:
        """The key is no longer seeded: its counter begins at 0 if it is added again."""
        self._before.pop(key, None)
