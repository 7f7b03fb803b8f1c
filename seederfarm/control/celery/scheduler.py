"""One active beat for the farm: others stand by, and one takes over when it ends."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any, Final

from celery.beat import PersistentScheduler
from django.db import Error, connection

from workers.ready import notify_ready

from ..db.locks import try_lock

log = logging.getLogger(__name__)

LOCK: Final = "beat"
STAND_BY: Final = 1.0
"""Seconds between two attempts to take the lock or reach the database."""


class SingletonScheduler(PersistentScheduler):  # type: ignore[misc]
    """Sends due tasks while it holds the lock, which ends with its process or its connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._lock = ExitStack()
        self._leads = False
        super().__init__(*arguments, **options)

    def tick(self, *arguments: Any, **options: Any) -> float:
        """Returns the seconds until the next call."""
        if not self._is_the_one():
            return STAND_BY
        return min(float(super().tick(*arguments, **options)), 5 * STAND_BY)

    def _is_the_one(self) -> bool:
        try:
            if self._leads and connection.is_usable():
                return True
            self._release_lock()
            self._leads = self._lock.enter_context(try_lock(LOCK))
        except Error as error:
            log.warning("the database is away, nothing is started: %s", str(error).strip().partition("\n")[0])
            self._release_lock()
            return False
        notify_ready()
        if self._leads:
            log.info("this beat starts what is due")
        else:
            self._release_lock()
        return self._leads

    def _release_lock(self) -> None:
        if self._leads:
            connection.close()  # this releases a lock that we still hold
        self._leads = False
        self._lock.close()
