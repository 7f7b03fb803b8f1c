"""Errors as events: what went wrong with one key is that key's problem, and is not repeated all the time."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hypercore.errors import HypercoreError
from hypercore.keys import encode_key

from ..model.events import Event, Problem

REPEAT_ERROR = 60.0
"""Seconds after which an error that lasts is emitted again. What failed is tried again far sooner."""

_FAULT = "an error in this program ({!r:.200}): the key is tried again, the others are not affected"

log = logging.getLogger(__name__)


class KeyFailed(HypercoreError):
    """An error that is a fault of this program, met while it dealt with one key."""

    code = "INTERNAL_ERROR"


class Problems:
    """`now` gives seconds of a clock that is never set."""

    def __init__(self, emit: Callable[[Event], None], now: Callable[[], float]) -> None:
        self._emit = emit
        self._now = now
        self._emitted: dict[bytes | None, dict[str, float]] = {}
        """Key, and code of an error, to when it was last emitted."""

    def report(self, key: bytes | None, error: Exception) -> None:
        """Emit an error, unless the same was emitted a moment ago. None: it is about the engine."""
        failure = error if isinstance(error, HypercoreError) else KeyFailed(_FAULT.format(error))
        now, emitted = self._now(), self._emitted.setdefault(key, {})
        if now < emitted.get(failure.code, float("-inf")) + REPEAT_ERROR:
            return
        emitted[failure.code] = now
        if failure is not error:
            log.error("key %s failed", "-" if key is None else encode_key(key), exc_info=error)
        self._emit(Problem(key=key, code=failure.code, message=str(failure)))

    def forget(self, key: bytes) -> None:
        """It is seeded no longer."""
        self._emitted.pop(key, None)
