"""A budget for the announced blocks of all peers of all cores."""

from __future__ import annotations

from typing import Protocol

from .config import MAX_REMOTE_FIELD_BYTES


class Field(Protocol):
    def discard(self) -> None:
        """Drop the announced blocks. They are requested again later."""


class FieldBudget:
    """Shared by the replicators of all cores. The largest fields are dropped first, so that a peer that
    announces nonsense loses its own field, not those of others."""

    def __init__(self, limit: int = MAX_REMOTE_FIELD_BYTES) -> None:
        self.limit = limit
        self.held = 0
        """Bytes held by all fields."""
        self.discarded = 0
        """Number of dropped fields."""
        self._holders: dict[Field, int] = {}

    def record(self, field: Field, size: int) -> None:
        """Count `size` bytes for the field. It, or others, may be dropped before this returns."""
        before = self._holders.get(field, 0)
        if size == before:
            return
        self.held += size - before
        if size:
            self._holders[field] = size
        else:
            del self._holders[field]
        if self.held > self.limit:
            self._make_room()

    def _make_room(self) -> None:
        """Drop the largest fields until a quarter of the budget is free."""
        for field in sorted(self._holders, key=self._holders.__getitem__, reverse=True):
            self.held -= self._holders.pop(field)
            self.discarded += 1
            field.discard()
            if self.held <= self.limit * 3 // 4:
                break
