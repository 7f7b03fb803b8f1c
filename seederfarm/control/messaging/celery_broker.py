"""Sends through Redis, within a second: pages and commands wait for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import redis
from celery import Celery
from django.conf import settings
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from farmwire.tasks import CONTROL_QUEUE, KEY_PREFIX

from .broker import BrokerDown

TIMEOUT: Final = 1.0
"""Seconds for the broker to accept a connection, and again to accept a message."""
AWAY_FOR: Final = 2.0
"""Seconds after a failure in which no message is sent, so that a caller with a hundred messages waits
once."""
DEFERRED_FOR: Final = 3600.0
"""Seconds until deferred work expires; the beat has done it by then."""


class CeleryBroker:
    """Celery's messages over connections of its own. Does not retry: the next heartbeat or beat repeats lost
    messages."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._away_until = float("-inf")
        self._app = _app(settings.FARM.broker_url)

    def send(self, task: str, message: dict[str, object], *, queue: str, expires: float) -> None:
        self._send(task, [message], queue, expires)

    def defer(self, task: str, args: Sequence[Any]) -> None:
        self._send(task, list(args), CONTROL_QUEUE, DEFERRED_FOR)

    def waiting(self, queue: str) -> int:
        with (
            self._trying(),
            self._app.producer_pool.acquire(block=True) as producer,
            producer.connection.default_channel.conn_or_acquire() as client,
        ):
            return int(client.llen(queue))

    def leave(self, key: str, message: dict[str, object], *, expires: float) -> None:
        with self._trying():
            client = redis.Redis.from_url(
                settings.FARM.redis_client_url,
                socket_connect_timeout=TIMEOUT,
                socket_timeout=TIMEOUT,
                retry=None,
            )
            with client:
                client.set(KEY_PREFIX + key, json.dumps(message), ex=int(expires))

    def _send(self, task: str, args: list[Any], queue: str, expires: float) -> None:
        # To the queue itself: its reader declares it, and a binding for each would stay in Redis.
        to: Any = Queue(queue)  # type: ignore[no-untyped-call]
        with self._trying(), self._app.producer_pool.acquire(block=True) as producer:
            self._app.send_task(
                task,
                args=args,
                queue=to,
                declare=[],
                expires=expires,
                ignore_result=True,
                retry=False,
                producer=producer,
            )
            if queue != CONTROL_QUEUE:
                # Celery checks `expires` when a message is taken. Messages that no worker takes expire with
                # the queue.
                with producer.connection.default_channel.conn_or_acquire() as client:
                    client.pexpire(queue, int(expires * 1000))

    @contextmanager
    def _trying(self) -> Iterator[None]:
        """Raises BrokerDown, also during AWAY_FOR after a failure."""
        if self._clock() < self._away_until:
            raise BrokerDown("it was away a moment ago")
        try:
            yield
        except (OperationalError, redis.RedisError, OSError) as error:
            # A full or busy broker answers with an error. An error of one key, to which a worker can write,
            # must not delay messages to other workers.
            if not _is_of_one_key(error):
                self._away_until = self._clock() + AWAY_FOR
            raise BrokerDown(str(error)) from error


def _is_of_one_key(error: Exception) -> bool:
    """Whether Redis refused a command because the key is not a list."""
    return "WRONGTYPE" in str(error)


def _app(url: str) -> Any:
    """Separate from the control plane's own app, whose connections may wait for messages for ever."""
    app = Celery("seederfarm.sender", broker=url, fixups=[], set_as_current=False)
    app.conf.update(
        task_serializer="json",
        task_protocol=2,
        result_backend=None,
        broker_transport_options={
            "global_keyprefix": KEY_PREFIX,
            "socket_connect_timeout": TIMEOUT,
            "socket_timeout": TIMEOUT,
            "socket_keepalive": True,
            # kombu would retry without a bound: this allows two tries.
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0,
            "interval_max": 0,
            "connect_retries_timeout": TIMEOUT / 2,
        },
    )
    return app
