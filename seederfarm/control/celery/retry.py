"""Work that outlives its database: while that is away, a task waits where it is.

A thread that waits takes no other message, so what comes meanwhile stays in the broker; nothing piles up in
memory and nothing is given up, however long it takes.
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
"""Failures of one task after which it is given up, if the database answers all the while."""
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 5.0
"""Seconds between two questions whether the database is back: doubled from the first to the longest."""

AWAY: Final = (OperationalError, InterfaceError)

log = logging.getLogger(__name__)
_stopping: Final = threading.Event()


def stop_waiting(**_: object) -> None:
    """This process is to end: those that wait give their messages back."""
    _stopping.set()


worker_shutting_down.connect(stop_waiting, dispatch_uid="control.patience")


def patient(work: Callable[..., None], stopping: threading.Event = _stopping) -> Callable[..., None]:
    """`work` in a task that is acknowledged late. It must be safe to run twice."""

    @wraps(work)
    def run(*args: object) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return work(*args)
            except AWAY as error:
                if attempt == ATTEMPTS:
                    raise
                log.warning("%s is tried again: %s", work.__name__, _said(error))
            _until_it_answers(stopping)

    return run


def _until_it_answers(stopping: threading.Event) -> None:
    """Raises Reject, which gives the message back, when this process is to end."""
    pause = FIRST_PAUSE
    while not stopping.wait(pause):
        try:
            connection.close()  # whatever state it is in
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            return
        except AWAY as error:
            log.warning("the database is away, messages wait in the broker: %s", _said(error))
            pause = min(2 * pause, LONGEST_PAUSE)
    raise Reject("the database is away", requeue=True)


def _said(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
