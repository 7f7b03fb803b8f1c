"""Moves reports and requests to join from the queue of each worker or token, in turn, to those that Celery
reads.

A worker may write only to its own queue of reports, the holder of a token only to that of the token. So one
that fills it does not delay others: each has a message moved as often as any other. `accounts.budget` bounds
the queues.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

import redis
from django.db import Error, connections
from django.utils import timezone

from farmwire.tasks import JOIN_QUEUE, KEY_PREFIX, REPORTS_QUEUE, join_queue_of, report_queue_of
from seederfarm.registry.models import Worker
from seederfarm.registry.services.tokens import open_places

from .broker_thread import BrokerThread

log = logging.getLogger(__name__)

POLL_INTERVAL: Final = 0.2
"""Seconds between two rounds when the queues are empty or `reports` is full."""
WORKERS_INTERVAL: Final = 2.0
"""Seconds between two checks of the registry for new workers and tokens."""
RETRY_INTERVAL: Final = 1.0
"""Seconds until the next try when the broker is away."""
MAX_READY: Final = 50
"""Messages in `reports`, or `join`, above which none is moved there: further ones wait in the queue of their
writer. Ours: a control process works on 16 at a time."""
MAX_READY_BYTES: Final = 64 << 20
"""Bytes of memory of such a queue above which no message is moved there. One more message of up to 31 MB may
exceed it."""
GROUP: Final = 64
"""Queues whose existence is checked with one command."""


class Lane:
    """Queues with one writer each, and the queue that they are moved to."""

    def __init__(self, ready: str) -> None:
        self._ready = KEY_PREFIX + ready
        self._queues: list[str] = []
        """Their keys, the next one first."""

    def list_queues(self, there: set[str]) -> None:
        """Take the keys of all queues. Known ones keep their turn."""
        known = set(self._queues)
        self._queues = [key for key in self._queues if key in there] + sorted(there - known)

    def move(self, client: Any) -> int:
        """Move at most one message of each queue. Returns their number."""
        room = MAX_READY - int(client.llen(self._ready))
        if room <= 0 or not self._queues or _bytes(client, self._ready) >= MAX_READY_BYTES:
            return 0
        groups = [self._queues[at : at + GROUP] for at in range(0, len(self._queues), GROUP)]
        with client.pipeline(transaction=False) as pipe:
            for group in groups:
                pipe.exists(*group)
            filled = [group for group, count in zip(groups, pipe.execute(), strict=True) if count]
        moved = 0
        last = ""
        for group in filled:
            at = 0
            while at < len(group) and moved < room:
                some = group[at : at + room - moved]
                moved += _move(client, some, self._ready)
                at += len(some)
                last = some[-1]
        if last:  # the next one comes first in the next round
            number = self._queues.index(last) + 1
            self._queues = self._queues[number:] + self._queues[:number]
        return moved


class Collector(BrokerThread):
    """Runs `collect` once, or in a thread (`start`). Several control processes may have one each."""

    NAME = "collector"
    TIMEOUT = 10.0

    def __init__(self) -> None:
        super().__init__()
        self._reports, self._joins = Lane(REPORTS_QUEUE), Lane(JOIN_QUEUE)
        self._listed_at = float("-inf")
        self._failed = self._listing_failed = False

    def _turn(self) -> float:
        try:
            moved = self.collect()
            self._failed = False
            return 0.0 if moved else POLL_INTERVAL
        except (redis.RedisError, OSError) as error:
            if not self._failed:
                log.warning("reports cannot be collected: %s", error)
            self._failed = True
        except Exception:
            log.exception("reports could not be collected; the next try follows")
        self._client = None
        return RETRY_INTERVAL

    def collect(self) -> int:
        """One round: move at most one message of each worker and token. Returns their number."""
        client = self._connected()
        self._list()
        return self._joins.move(client) + self._reports.move(client)

    def _list(self) -> None:
        """List all workers: messages of those that are no members are refused, and counted. The same for
        tokens that ended lately."""
        if time.monotonic() - self._listed_at < WORKERS_INTERVAL:
            return
        try:
            ids = list(Worker.objects.values_list("node_id", flat=True))
            places = open_places(timezone.now())
        except Error as error:
            # New workers wait: their reports stay where nothing else says so
            level = logging.DEBUG if self._listing_failed else logging.WARNING
            log.log(level, "the workers are those of the last look, the database is away: %s", error)
            self._listing_failed = True
            return
        finally:
            if self._started:
                connections.close_all()
        self._listing_failed = False
        self._listed_at = time.monotonic()
        self._reports.list_queues({KEY_PREFIX + report_queue_of(node_id) for node_id in ids})
        self._joins.list_queues({KEY_PREFIX + join_queue_of(place) for place in places})


def _move(client: Any, keys: list[str], ready: str) -> int:
    """Move the oldest message of each queue. Returns their number. Raises redis.ResponseError."""
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.lmove(key, ready, "RIGHT", "LEFT")
        answers = pipe.execute(raise_on_error=False)
    moved = 0
    for key, answer in zip(keys, answers, strict=True):
        if not isinstance(answer, Exception):
            moved += answer is not None
        elif "WRONGTYPE" in str(answer):  # the worker replaced its queue by another type of key
            log.warning("%s was no queue and is deleted", key)
            client.delete(key)
        else:
            raise answer
    return moved


def _bytes(client: Any, key: str) -> int:
    return int(client.execute_command("MEMORY", "USAGE", key, "SAMPLES", 0) or 0)


collector: Final = Collector()
