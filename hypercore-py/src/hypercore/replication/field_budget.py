"""How much memory all peers of all cores may take with what they announce."""

from __future__ import annotations

from typing import Protocol

from .config import MAX_REMOTE_FIELD_BYTES


class Field(Protocol):
    def forget(self) -> None:
        """Drop all that takes memory. What was forgotten is asked for again."""


class FieldBudget:
    """Shared by the replicators of all cores. The peer that holds most loses its share, so a peer that
    announces nonsense does not cost the others theirs."""

    def __init__(self, limit: int = MAX_REMOTE_FIELD_BYTES) -> None:
        self.limit = limit
        self.held = 0
        """Bytes held by all fields."""
        self.forgotten = 0
        """How often a field was dropped."""
        self._holders: dict[Field, int] = {}

    def note(self, field: Field, size: int) -> None:
        """The field takes `size` bytes now. It, or others, may be dropped before this returns."""
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
        """Drop the largest until a quarter is free again, so that this is rare."""
        for field in sorted(self._holders, key=self._holders.__getitem__, reverse=True):
            self.held -= self._holders.pop(field)
            self.forgotten += 1
            field.forget()
            if self.held <= self.limit * 3 // 4:
                break
