"""Runs tasks through an outage of the database: a task waits in its thread.

A waiting thread takes no other message, so later ones stay in the broker: memory is bounded and no message is
dropped, however long the outage.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import wraps
from typing import Final

from celery.exceptions import Reject
from celery.signals import worker_shutting_down
from django.db import InterfaceError, OperationalError, connection

ATTEMPTS: Final = 8
"""Failures of one task after which it is dropped, if the database answers."""
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 5.0
"""Seconds between two attempts to reach the database: doubled from the first to this."""

DB_DOWN: Final = (OperationalError, InterfaceError)

log = logging.getLogger(__name__)
_stopping: Final = threading.Event()


def stop_waiting(**_: object) -> None:
    """This process ends: waiting tasks return their messages."""
    _stopping.set()


worker_shutting_down.connect(stop_waiting, dispatch_uid="control.retry")


def retry_on_db_outage(
    work: Callable[..., None], stopping: threading.Event = _stopping
) -> Callable[..., None]:
    """Wrap `work` of a task that is acknowledged late. It must be safe to run twice."""

    @wraps(work)
    def run(*args: object) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return work(*args)
            except DB_DOWN as error:
                if attempt == ATTEMPTS:
                    raise
                log.warning("%s is tried again: %s", work.__name__, _error_text(error))
            _wait_for_database(stopping)

    return run


def _wait_for_database(stopping: threading.Event) -> None:
    """Wait for the database. Raises Reject, which requeues the message, when this process ends."""
    pause = FIRST_PAUSE
    while not stopping.wait(pause):
        try:
            connection.close()  # its state is unknown
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            return
        except DB_DOWN as error:
            log.warning("the database is away, messages wait in the broker: %s", _error_text(error))
            pause = min(2 * pause, LONGEST_PAUSE)
    raise Reject("the database is away", requeue=True)


def _error_text(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
