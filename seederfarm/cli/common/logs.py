"""Writes log records to stderr, or above the live view while there is one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from hypercore.printable import VisibleFormatter

LOGGERS = ("hypercore", "workers", "seederfarm")


class _LineHandler(logging.Handler):
    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write
        self.setFormatter(VisibleFormatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record))
        except Exception:
            self.handleError(record)


def set_up(level: int, write: Callable[[str], None] | None = None, *, events_are_shown: bool = False) -> None:
    """Log records of ours from `level` on go to `write`, a line each; without it, to stderr.

    Records that are events as well are left out where `events_are_shown`.

    asyncio's own records (a callback that raised) are shown in any case: they are bugs.
    """
    handler = _LineHandler(write or _to_stderr)
    if events_are_shown:
        handler.addFilter(lambda record: not getattr(record, "emitted", False))
    for name in (*LOGGERS, "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level if name in LOGGERS else logging.WARNING)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
