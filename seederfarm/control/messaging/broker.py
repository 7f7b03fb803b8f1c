"""The interface of a broker. Imports no Django, so that the Celery app can be imported first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class BrokerDown(Exception):
    """The broker did not accept the message."""


class Broker(Protocol):
    """Celery, or a fake in tests. All methods raise BrokerDown."""

    def send(self, task: str, message: dict[str, object], *, queue: str, expires: float) -> None:
        """Send to a worker."""

    def defer(self, task: str, args: Sequence[Any]) -> None:
        """Queue work for the control plane itself."""

    def waiting(self, queue: str) -> int:
        """Number of messages in the queue."""

    def leave(self, key: str, message: dict[str, object], *, expires: float) -> None:
        """Leave an answer for a joining worker, to be fetched within `expires` seconds. Replaces an existing
        one."""
