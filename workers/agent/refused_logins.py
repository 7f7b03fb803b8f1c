"""One line an hour where the broker refuses our login, in place of Celery's line for each attempt."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

REPEAT_AFTER = 3600.0
"""Seconds until the line is logged again."""

REFUSALS = ("invalid username-password", "WRONGPASS", "NOAUTH")
"""Parts of the errors of Redis, and of its client, for a login that it does not know."""

LINE = (
    "the broker does not know this worker's login. If that lasts for more than a minute, it was retired, or "
    "the farm is another one: join with a new token, or stop it. Seeding goes on, and so do attempts; "
    "this is logged once an hour"
)


def refused(text: str) -> bool:
    """Whether this is the error of a refused login."""
    return any(part in text for part in REFUSALS)


class RefusedLogins(logging.Filter):
    """For a logger of connection errors. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._quiet_until = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if not refused(record.getMessage()):
            return True
        now = self._clock()
        if now < self._quiet_until:
            return False
        self._quiet_until = now + REPEAT_AFTER
        record.msg, record.args = LINE, ()
        return True
