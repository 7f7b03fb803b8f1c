"""Holds events back until the engine is ready."""

from __future__ import annotations

from collections.abc import Callable

from .events import Event, Ready


class EventBuffer:
    """Calls `emit` with every event in order, and with `Ready` before all others. It must not block."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._waiting: list[Event] | None = []
        """Events that wait for `Ready`; None once it is emitted."""

    @property
    def ready(self) -> bool:
        """Whether `Ready` was emitted."""
        return self._waiting is None

    def emit(self, event: Event) -> None:
        """Emit an event, or keep it until the engine is ready."""
        if self._waiting is None:
            self._emit(event)
        else:
            self._waiting.append(event)

    def emit_ready(self, ready: Ready) -> None:
        """Emit `ready`, then the events that waited for it."""
        waiting, self._waiting = self._waiting, None
        self._emit(ready)
        for event in waiting or ():
            self._emit(event)
