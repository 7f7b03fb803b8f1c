"""A thread of a control process that looks at the broker again and again."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import redis
from django.conf import settings


class BrokerThread(ABC):
    """Each has one connection to the broker, which it keeps: a crowded broker accepts no new ones."""

    NAME: ClassVar[str]
    """Name of the thread."""
    TIMEOUT: ClassVar[float]
    """Seconds that Redis may take for one answer."""
    OPTIONS: ClassVar[dict[str, Any]] = {}
    """Options of the Redis client, beside those of every client."""

    def __init__(self) -> None:
        self._client: Any = None
        self._started = False

    def start(self) -> None:
        """Start the thread. Safe to call twice."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name=self.NAME, daemon=True).start()

    @abstractmethod
    def _turn(self) -> float:
        """One round. Returns seconds until the next. Raises nothing."""

    def _run(self) -> None:
        while True:
            time.sleep(self._turn())

    def _connected(self) -> Any:
        if self._client is None:
            self._client = redis.Redis.from_url(
                settings.FARM.redis_client_url,
                socket_connect_timeout=self.TIMEOUT,
                socket_timeout=self.TIMEOUT,
                retry=None,
                single_connection_client=True,
                **self.OPTIONS,
            )
        return self._client
