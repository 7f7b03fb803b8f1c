"""Answers that end early because what they are made of does.

The client must notice: the connection is closed before the answer is complete, which a server does when the
application fails. That is no fault of the program, so that the log gets a line instead of a traceback.
"""

from __future__ import annotations

import logging


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
