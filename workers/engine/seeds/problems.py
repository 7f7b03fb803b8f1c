"""Errors as events: an error of one key is reported for that key, and not repeated all the time."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hypercore.errors import HypercoreError
from hypercore.keys import encode_key

from ..model.events import Event, Problem

REPEAT_ERROR = 60.0
"""Seconds after which a lasting error is emitted again. The failed work is retried far sooner."""

_FAULT = "an error in this program ({!r:.200}): the key is tried again, the others are not affected"

log = logging.getLogger(__name__)


class KeyFailed(HypercoreError):
    """A fault of this program, while it handled one key."""

    code = "INTERNAL_ERROR"


class Problems:
    """`now` returns seconds of a monotonic clock."""

    def __init__(self, emit: Callable[[Event], None], now: Callable[[], float]) -> None:
        self._emit = emit
        self._now = now
        self._emitted: dict[bytes | None, dict[str, float]] = {}
        """Key, and code of an error, to the time when it was last emitted."""

    def report(self, key: bytes | None, error: Exception) -> None:
        """Emit an error, unless the same was emitted less than REPEAT_ERROR ago. `key` None: of the
        engine."""
        failure = error if isinstance(error, HypercoreError) else KeyFailed(_FAULT.format(error))
        now, emitted = self._now(), self._emitted.setdefault(key, {})
        if now < emitted.get(failure.code, float("-inf")) + REPEAT_ERROR:
            return
        emitted[failure.code] = now
        if failure is not error:
            log.error("key %s failed", "-" if key is None else encode_key(key), exc_info=error)
        self._emit(Problem(key=key, code=failure.code, message=str(failure)))

    def discard(self, key: bytes) -> None:
        """The key is no longer seeded."""
        self._emitted.pop(key, None)
