"""The heads and totals of a key as events, at most once an interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from ..model.events import CoreChanged, Event, Progress
from ..model.kind import Role
from .cold import Cold
from .totals import Head, SeedTotals, recorded
from .tracked_core import TrackedCore

Parts: TypeAlias = Iterable[tuple[TrackedCore, Role]]
"""The cores that are known to belong to a key, each with its role."""


class ProgressEvents:
    """Emits `core` and `progress` of `key`. `interval` returns the seconds between two reports at least."""

    __slots__ = ("_emit", "_heads", "_interval", "_key", "_reported_at", "_totals")

    def __init__(self, key: bytes, emit: Callable[[Event], None], interval: Callable[[], float]) -> None:
        self._key = key
        self._emit = emit
        self._interval = interval
        self._heads: dict[bytes, Head] = {}
        self._totals: SeedTotals | None = None
        self._reported_at = float("-inf")

    def resume(self, cold: Cold) -> None:
        """What was emitted before the key was put away is not repeated."""
        self._heads, self._totals = recorded(cold)

    def update(self, parts: Parts, totals: SeedTotals, now: float) -> float | None:
        """Emit what changed, if the interval is over. Returns when it will be, or None if nothing changed."""
        if totals == self._totals and not any(self._new_heads(parts)):
            return None
        next_at = self._reported_at + self._interval()
        if now < next_at:
            return next_at
        self._reported_at = now
        self.emit_heads(parts)
        if totals != self._totals:
            self._totals = totals
            self._emit(Progress(key=self._key, **totals._asdict()))
        return None

    def emit_heads(self, parts: Parts) -> None:
        """Emit the heads that changed, now."""
        for core, head in self._new_heads(parts):
            self._heads[core] = head
            self._emit(CoreChanged(key=self._key, core=core, **head._asdict()))

    def _new_heads(self, parts: Parts) -> Iterator[tuple[bytes, Head]]:
        for part, role in parts:
            core = part.core
            head = Head(role, core.length, core.fork, core.byte_length)
            if head != self._heads.get(core.key) and (core.length or core.fork):
                yield core.key, head
