"""Log lines instead of tracebacks, where nothing is wrong with the program.

Answers end early because what they are made of does.

The client must notice: the connection is closed before the answer is complete, which a server does when the
application fails. That is no fault of the program, so that the log gets a line instead of a traceback.
"""

from __future__ import annotations

import logging

from django.core.exceptions import PermissionDenied


class Unfinished(Exception):
    """An answer has begun and cannot be completed."""


class OneLine(logging.Filter):
    """Logs Unfinished in one line. For the logger of the server."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Unfinished):
            record.msg, record.args = "An answer ended early: %s", (error,)
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


class WithoutTraceback(logging.Filter):
    """Logs a request that may not do what it asks in one line: its path says all. For `django.request`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, PermissionDenied):
            record.exc_info = record.exc_text = None
        return True
