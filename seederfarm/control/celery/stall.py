"""Restarts a consumer that takes no messages although some wait and threads are idle.

Such a process lives, logs nothing and never goes on by itself: Celery's consumer reads no further once as
many messages as it may prefetch were never acknowledged, and waits for ever for a socket that its poller has
lost. A thread compares what waits in the broker with what runs here. A new connection gives back all messages
that the old one had taken, and begins with none.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import redis
from celery import bootsteps
from django.db import Error, connections
from django.utils import timezone

from farmwire.tasks import CONTROL_QUEUE, JOIN_QUEUE, KEY_PREFIX, REPORTS_QUEUE
from seederfarm.registry.models.history import Severity

from ..history.alerts import AlertSpec, raise_alerts
from ..messaging.broker_thread import BrokerThread
from .work import WorkCounter, counter

log = logging.getLogger(__name__)

CHECK_EVERY: Final = 2.0
"""Seconds between two checks."""
MAX_CHECKS: Final = 30
"""Checks in a row without progress after which the consumer is restarted: a minute at least. Checks are
counted and not seconds, so that a process that gets no processor time is not taken for a stalled one."""
MAX_RESTARTS: Final = 3
"""Restarts in a row after which the process ends, if still no task starts: its supervisor starts it again."""
EXIT_STATUS: Final = 1
ALERT: Final = "control.stalled"


class StallDetector:
    """Counts checks without progress, and how often that led to a restart. Pure."""

    def __init__(self) -> None:
        self.restarts = 0
        """Restarts since a task last started."""
        self._checks = 0
        self._started = -1

    def check(self, *, waiting: int, idle: int, started: int) -> bool:
        """Return whether to restart the consumer: at each of the last MAX_CHECKS checks messages were
        `waiting`, threads `idle`, and no task was started. The number of `started` tasks only grows."""
        if started != self._started:
            self._started, self.restarts = started, 0
            self.reset()
        elif waiting <= 0 or idle <= 0:
            self.reset()
        else:
            self._checks += 1
        if self._checks < MAX_CHECKS:
            return False
        self.reset()
        self.restarts += 1
        return True

    def reset(self) -> None:
        """Begin to count anew."""
        self._checks = 0


class StallGuard(BrokerThread):
    """Checks the consumer of this process. `end` ends the process."""

    NAME = "stall guard"
    TIMEOUT = 5.0

    def __init__(self, work: WorkCounter = counter, end: Callable[[], object] | None = None) -> None:
        super().__init__()
        self._work = work
        self._end = end or partial(os._exit, EXIT_STATUS)
        self._consumer: Any = None
        self._detector = StallDetector()

    def start_for(self, consumer: Any) -> None:
        """Check `consumer` of Celery from now on, in the thread."""
        self._consumer = consumer
        self.start()

    def _turn(self) -> float:
        try:
            self.check()
        except Exception:
            log.exception("the consumer could not be checked; the next check follows")
        finally:
            connections.close_all()
        return CHECK_EVERY

    def check(self) -> None:
        """Check once."""
        if not _consumes(self._consumer):
            self._detector.reset()
            return
        try:
            waiting = self._waiting()
        except (redis.RedisError, OSError) as error:
            log.debug("the broker's queues could not be measured: %s", error)
            self._client = None
            self._detector.reset()
            return
        idle = int(self._consumer.pool.num_processes) - self._work.running
        if self._detector.check(waiting=waiting, idle=idle, started=self._work.started):
            self._recover(waiting)

    def _waiting(self) -> int:
        """Messages in the queues of control."""
        pipe = self._connected().pipeline(transaction=False)
        for name in (CONTROL_QUEUE, REPORTS_QUEUE, JOIN_QUEUE):
            pipe.llen(KEY_PREFIX + name)
        return sum(pipe.execute())

    def _recover(self, waiting: int) -> None:
        ends = self._detector.restarts > MAX_RESTARTS
        text = f"Control took no message for a minute, while {waiting} waited and its threads were idle"
        log.error("%s: %s", text, "the process ends" if ends else "its connection to the broker is made anew")
        if not ends:
            self._consumer.call_soon(_lose_connection)
        try:
            raise_alerts([AlertSpec(ALERT, ALERT, text, severity=Severity.ERROR)], timezone.now())
        except Error as error:
            log.warning("no alert of it, the database is away: %s", str(error).strip().partition("\n")[0])
        if ends:
            self._end()


def _consumes(consumer: Any) -> bool:
    """Whether it has a connection and is not being stopped."""
    return consumer.connection is not None and consumer.blueprint.state == bootsteps.RUN


def _lose_connection() -> None:
    """Celery makes a new connection, with new channels, after an error of the old one."""
    raise ConnectionError("control took no messages")


stall_guard: Final = StallGuard()
